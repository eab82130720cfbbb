/* CRC-64 of ISO 3309, reflected: what tar-split knows the content of files by (Go's crc64.ISO). */
#ifndef FC_CRC64_H
#define FC_CRC64_H

#include <stddef.h>
#include <stdint.h>

/* Continue from *state* (0 at first) over *size* bytes. */
uint64_t fc_crc64(uint64_t state, const uint8_t *data, size_t size);

/* Fill the tables; once, before the first call. */
void fc_crc64_prepare(void);

#endif
