/* Preloaded into a daemon: its wall clock runs ahead of the machine's by what a file says, in nanoseconds. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000LL

static const volatile int64_t *ahead_ns;

__attribute__((constructor)) static void open_clock(void)
{
	const char *path = getenv("CLOCK_AHEAD_NS");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (page != MAP_FAILED)
		ahead_ns = page;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int status = (int)syscall(SYS_clock_gettime, clock, now);
	if (status == 0 && clock == CLOCK_REALTIME && ahead_ns) {
		int64_t ns = now->tv_sec * SECOND_NS + now->tv_nsec + *ahead_ns;
		now->tv_sec = ns / SECOND_NS;
		now->tv_nsec = ns % SECOND_NS;
	}
	return status;
}
