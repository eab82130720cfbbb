/* Runs one client and measures it from exec to exit: wall, CPU of all its processes, peak memory.
 *
 * launch [-C ROOT] [-D CWD] [-b FROM:TO]... [-t SECONDS] [-o JSON] [-x] -- COMMAND...
 *
 *   -C  chroot there first, with the host's /dev and /proc inside (private to this command)
 *   -b  bind directory FROM over TO, private to this command (state that cannot be moved by HOME)
 *   -t  kill every process of the command after SECONDS
 *   -o  where to write the measurement (JSON, one object)
 *   -x  measure nothing: become the command (for servers; the pid stays)
 *
 * It is C because a child's ru_maxrss starts at its parent's resident size: a parent written in
 * Python would give every client forty megabytes it never had. It adopts orphans (subreaper), so
 * CPU of processes whose parent left early is counted too. SIGINT and SIGTERM end it and all of them.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BINDS 8
#define SAMPLE_NS 25000000L /* the memory of several processes is sampled; one process is exact (ru_maxrss) */

static const char *root, *cwd, *out_path, *binds[BINDS];
static int bind_count, become;
static double limit = 3600;

static void die(const char *what) {
    fprintf(stderr, "launch: %s: %s\n", what, strerror(errno));
    _exit(125);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void make_directories(char *path) {
    for (char *at = path + 1; *at; at++)
        if (*at == '/') *at = 0, mkdir(path, 0755), *at = '/';
    mkdir(path, 0755);
}

static void bind_over(const char *from, const char *to, unsigned long more) {
    char place[4096];
    snprintf(place, sizeof place, "%s%s", root ? root : "", to);
    make_directories(place);
    if (mount(from, place, NULL, MS_BIND | more, NULL)) die(place);
}

static void bind_pair(const char *pair) {
    char from[2048];
    const char *colon = strchr(pair, ':');
    if (!colon) errno = EINVAL, die(pair);
    snprintf(from, sizeof from, "%.*s", (int)(colon - pair), pair);
    bind_over(from, colon + 1, MS_REC);
}

static void enter(void) {
    if (root || bind_count) {
        if (unshare(CLONE_NEWNS)) die("unshare (root is needed for -C and -b)");
        if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) die("mount");
    }
    if (root) bind_over("/dev", "/dev", MS_REC), bind_over("/proc", "/proc", MS_REC);
    for (int i = 0; i < bind_count; i++) bind_pair(binds[i]);
    if (root && (chroot(root) || chdir("/"))) die(root);
    if (cwd && chdir(cwd)) die(cwd);
}

static void become_command(char **command) {
    enter();
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0) dup2(null, 0);
    execvp(command[0], command);
    die(command[0]);
}

static long resident(pid_t pid) {
    char path[64];
    long size = 0, pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    if (fscanf(f, "%ld %ld", &size, &pages) != 2) pages = 0;
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

typedef void visit(pid_t, void *);

static void each_descendant(pid_t pid, visit *call, void *data) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks) return;
    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/children", pid, task->d_name);
        FILE *f = fopen(path, "r");
        if (!f) continue;
        for (int child; fscanf(f, "%d", &child) == 1;) call(child, data), each_descendant(child, call, data);
        fclose(f);
    }
    closedir(tasks);
}

static void add_resident(pid_t pid, void *total) { *(long *)total += resident(pid); }

static void kill_one(pid_t pid, void *count) {
    kill(pid, SIGKILL);
    ++*(int *)count;
}

static int reap(pid_t main_child, int *status) {
    int done = 0, code;
    for (pid_t pid; (pid = waitpid(-1, &code, WNOHANG)) > 0;)
        if (pid == main_child) *status = code, done = 1;
    return done;
}

static int kill_all(void) {
    int killed = 0;
    each_descendant(getpid(), kill_one, &killed);
    for (int i = 0; killed && i < 100 && waitpid(-1, NULL, WNOHANG) >= 0; i++) usleep(10000);
    return killed;
}

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

static void write_result(double wall, int status, int timed_out, int strays, long sampled) {
    struct rusage use;
    getrusage(RUSAGE_CHILDREN, &use);
    FILE *f = out_path ? fopen(out_path, "w") : stderr;
    if (!f) die(out_path);
    fprintf(f,
            "{\"wall\": %.6f, \"user\": %.6f, \"sys\": %.6f, \"max_rss_kib\": %ld, \"sum_rss_kib\": %ld,"
            " \"status\": %d, \"timed_out\": %s, \"strays\": %d}\n",
            wall, seconds(use.ru_utime), seconds(use.ru_stime), use.ru_maxrss, sampled,
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), timed_out ? "true" : "false", strays);
    if (f != stderr) fclose(f);
}

static int measure(char **command) {
    sigset_t awaited;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD), sigaddset(&awaited, SIGINT), sigaddset(&awaited, SIGTERM);
    sigprocmask(SIG_BLOCK, &awaited, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    double start = now(), wall;
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (!pid) {
        sigprocmask(SIG_UNBLOCK, &awaited, NULL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setsid();
        become_command(command);
    }
    long peak = 0;
    int status = 0, timed_out = 0, killed = 0;
    while (!reap(pid, &status)) {
        struct timespec pause = {0, SAMPLE_NS};
        int signal_number = sigtimedwait(&awaited, NULL, &pause);
        if (signal_number == SIGINT || signal_number == SIGTERM) return kill_all(), 128 + signal_number;
        long total = 0;
        each_descendant(getpid(), add_resident, &total);
        if (total > peak) peak = total;
        if (!timed_out && now() - start > limit) timed_out = 1, each_descendant(getpid(), kill_one, &killed);
    }
    wall = now() - start;
    int strays = kill_all();
    write_result(wall, status, timed_out, strays, peak);
    return 0;
}

int main(int argc, char **argv) {
    for (int option; (option = getopt(argc, argv, "+C:D:b:t:o:x")) != -1;) switch (option) {
            case 'C': root = optarg; break;
            case 'D': cwd = optarg; break;
            case 'b':
                if (bind_count == BINDS) errno = E2BIG, die("-b");
                binds[bind_count++] = optarg;
                break;
            case 't': limit = atof(optarg); break;
            case 'o': out_path = optarg; break;
            case 'x': become = 1; break;
            default: return 125;
        }
    if (optind >= argc) errno = EINVAL, die("no command");
    if (become) become_command(argv + optind);
    return measure(argv + optind);
}
