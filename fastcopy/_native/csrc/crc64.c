/* Slicing by eight: eight tables of 256 words, one step for eight bytes. */
#include "crc64.h"

#include <string.h>

#define POLYNOMIAL 0xD800000000000000ull

static uint64_t table[8][256];

void fc_crc64_prepare(void)
{
    for (unsigned value = 0; value < 256; value++) {
        uint64_t rest = value;
        for (int bit = 0; bit < 8; bit++)
            rest = (rest >> 1) ^ (rest & 1 ? POLYNOMIAL : 0);
        table[0][value] = rest;
    }
    for (unsigned value = 0; value < 256; value++)
        for (int step = 1; step < 8; step++)
            table[step][value] = (table[step - 1][value] >> 8) ^ table[0][table[step - 1][value] & 0xff];
}

static uint64_t little(const uint8_t *data)
{
    uint64_t word = 0;
    for (int at = 7; at >= 0; at--)
        word = word << 8 | data[at];
    return word;
}

uint64_t fc_crc64(uint64_t state, const uint8_t *data, size_t size)
{
    uint64_t rest = ~state;
    for (; size >= 8; data += 8, size -= 8) {
        rest ^= little(data);
        rest = table[7][rest & 0xff] ^ table[6][rest >> 8 & 0xff] ^ table[5][rest >> 16 & 0xff]
             ^ table[4][rest >> 24 & 0xff] ^ table[3][rest >> 32 & 0xff] ^ table[2][rest >> 40 & 0xff]
             ^ table[1][rest >> 48 & 0xff] ^ table[0][rest >> 56];
    }
    for (; size; data++, size--)
        rest = (rest >> 8) ^ table[0][(rest ^ *data) & 0xff];
    return ~rest;
}
