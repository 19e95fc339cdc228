/*
 * slowdir: a directory that is really slow.
 *
 * A FUSE passthrough over a backing directory that makes every request wait as a network would, shares one bandwidth
 * among all transfers, fails or hangs chosen requests, and counts all that reached it.
 *
 *     slowdir BACKING MOUNTPOINT CONTROL [-o OPTION]...
 *
 * How it works. Every inode the kernel knows is an O_PATH descriptor, found by (device, inode number), so no path is
 * resolved twice and st_ino is the backing file's own. Requests are served by as many threads as may wait at once; a
 * waiting thread costs nothing, so the delay of one request never holds up another.
 *
 * CONTROL is a page of 64-bit words shared with the one who started us (struct control below): settings are read for
 * every request, counters are added to atomically, no message is exchanged. On standard input, 'd' asks to drop what
 * the kernel caches, and end of file (our starter is gone) to unmount and leave.
 *
 * It caches as a network filesystem does: names and attributes for a time, pages of a file for as long as its mtime
 * and size are the same at the next open. It promises never to be slower than it was told to be by more than the
 * kernel's own round trip: python -m bench.slowdir_cost measures that.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 314

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* Everything that can reach us. The order gives the bit in the masks and the index of the counter; the names are
 * published in the control page, so that nobody else keeps a list. */
#define OPERATIONS(X)                                                                                                  \
	X(lookup) X(forget) X(getattr) X(setattr) X(readlink) X(mknod) X(mkdir) X(symlink) X(link) X(unlink) X(rmdir)  \
	X(rename) X(open) X(create) X(read) X(write) X(flush) X(release) X(fsync) X(opendir) X(readdir)                \
	X(readdirplus) X(releasedir) X(fsyncdir) X(statfs) X(getxattr) X(setxattr) X(listxattr) X(removexattr)         \
	X(fallocate) X(lseek)

enum operation {
#define X(name) OP_##name,
	OPERATIONS(X)
#undef X
	OP_COUNT
};

static const char operation_names[] =
#define X(name) #name "\n"
	OPERATIONS(X)
#undef X
	;

typedef _Atomic uint64_t word;

/* Shared with bench/slowdir/control.py: change both, and the magic. Native (little-endian) 64-bit words. */
#define MAGIC UINT64_C(0x32304c5344574c53)
#define NAME_BYTES 256

struct control {
	/* Written by the starter before we start. */
	word magic, entry_timeout_ns, attr_timeout_ns, negative_timeout_ns, threads, max_background, has_ctime, reserved;
	/* Written by the starter at any time. */
	word latency_ns, bandwidth_bytes_s, free_mask, fault_mask, fault_errno, hang_mask, heal_generation, leaving;
	/* Written by us. */
	word ready, drops_done, waiting, peak_waiting, hung, delayed, delayed_ns, faulted;
	word bytes_read, bytes_written, reserved_too[6];
	word requests[64];
	/* The starter clears the mask before it changes a name. Empty: every name. */
	char fault_name[NAME_BYTES], hang_name[NAME_BYTES];
	char operations[1024];
};
_Static_assert(OP_COUNT <= 64, "an operation needs a bit in the masks");
_Static_assert(sizeof(operation_names) <= sizeof(((struct control *)0)->operations), "room for the names");
_Static_assert(sizeof(struct control) <= 4096, "one page");

static struct control *control;
static struct fuse_session *session;

/* ---------------------------------------------------------------------------------------------------------- waiting */

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void sleep_until_ns(uint64_t deadline_ns)
{
	struct timespec t = {(time_t)(deadline_ns / 1000000000), (long)(deadline_ns % 1000000000)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static void begin_waiting(void)
{
	uint64_t waiting = atomic_fetch_add(&control->waiting, 1) + 1;
	uint64_t peak = atomic_load(&control->peak_waiting);
	while (waiting > peak && !atomic_compare_exchange_weak(&control->peak_waiting, &peak, waiting))
		;
}

static void end_waiting(void)
{
	atomic_fetch_sub(&control->waiting, 1);
}

/* One link for all: each transfer takes the next free stretch of its time, so readers at once share the bandwidth. */
static void transfer(size_t bytes)
{
	static word link_free_ns;
	uint64_t bandwidth = atomic_load(&control->bandwidth_bytes_s);
	if (!bandwidth || !bytes)
		return;
	uint64_t duration_ns = (uint64_t)((double)bytes * 1e9 / (double)bandwidth);
	uint64_t now = now_ns(), free_ns = atomic_load(&link_free_ns), end_ns;
	do {
		end_ns = (free_ns > now ? free_ns : now) + duration_ns;
	} while (!atomic_compare_exchange_weak(&link_free_ns, &free_ns, end_ns));
	begin_waiting();
	sleep_until_ns(end_ns);
	end_waiting();
}

/* Waits until healed, unmounted, or the program that asked was killed; true if the request may go on. */
static bool hang(fuse_req_t req)
{
	uint64_t generation = atomic_load(&control->heal_generation);
	bool was_interrupted = false;
	atomic_fetch_add(&control->hung, 1);
	begin_waiting();
	while (atomic_load(&control->heal_generation) == generation && !atomic_load(&control->leaving) &&
	       !(was_interrupted = fuse_req_interrupted(req)))
		sleep_until_ns(now_ns() + 2000000);
	end_waiting();
	atomic_fetch_sub(&control->hung, 1);
	return !was_interrupted && !atomic_load(&control->leaving);
}

/* ----------------------------------------------------------------------------------------------------------- inodes */

struct inode {
	int fd; /* O_PATH */
	dev_t dev;
	ino_t ino;
	/* Everything below is guarded by inodes.lock. */
	uint64_t lookups; /* references held by the kernel */
	struct inode *next;
	fuse_ino_t parent; /* where and under which name it was last seen: for faults by name and for drops, no more */
	char *name;
	struct timespec cached_mtime; /* of the pages that the kernel keeps */
	off_t cached_size;
};

static struct {
	pthread_mutex_t lock;
	struct inode **buckets;
	size_t mask, count;
} inodes = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct inode root = {.fd = -1, .name = ""};

static struct inode *inode_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &root : (struct inode *)ino;
}

static int fd_of(fuse_ino_t ino)
{
	return inode_of(ino)->fd;
}

/* For the calls that take no O_PATH descriptor. The kernel goes straight to the inode, symbolic links included. */
struct proc_path {
	char text[32];
};

static struct proc_path proc_path(int fd)
{
	struct proc_path path;
	snprintf(path.text, sizeof path.text, "/proc/self/fd/%d", fd);
	return path;
}

static struct inode **bucket_of(dev_t dev, ino_t ino)
{
	uint64_t hash = ((uint64_t)ino ^ (uint64_t)dev << 32) * UINT64_C(0x9e3779b97f4a7c15);
	return &inodes.buckets[(hash >> 32) & inodes.mask];
}

static void rehash(size_t size)
{
	struct inode **old = inodes.buckets;
	size_t old_size = old ? inodes.mask + 1 : 0;
	struct inode **fresh = calloc(size, sizeof *fresh);
	if (!fresh)
		return; /* longer chains, no more */
	inodes.buckets = fresh;
	inodes.mask = size - 1;
	for (size_t i = 0; i < old_size; i++)
		for (struct inode *inode = old[i], *next; inode; inode = next) {
			struct inode **bucket = bucket_of(inode->dev, inode->ino);
			next = inode->next;
			inode->next = *bucket;
			*bucket = inode;
		}
	free(old);
}

static void set_place(struct inode *inode, fuse_ino_t parent, const char *name)
{
	inode->parent = parent;
	if (inode == &root || (inode->name && !strcmp(inode->name, name)))
		return;
	char *copy = strdup(name);
	if (copy) {
		free(inode->name);
		inode->name = copy;
	}
}

/* Takes the descriptor: it becomes the inode's, or is closed when the inode is known. */
static struct inode *inode_acquire(int fd, const struct stat *attr, fuse_ino_t parent, const char *name)
{
	pthread_mutex_lock(&inodes.lock);
	struct inode *inode = *bucket_of(attr->st_dev, attr->st_ino);
	while (inode && !(inode->ino == attr->st_ino && inode->dev == attr->st_dev))
		inode = inode->next;
	bool is_known = inode;
	if (!inode && (inode = calloc(1, sizeof *inode))) {
		*inode = (struct inode){.fd = fd, .dev = attr->st_dev, .ino = attr->st_ino, .cached_size = -1};
		if (++inodes.count > inodes.mask)
			rehash((inodes.mask + 1) * 2);
		struct inode **bucket = bucket_of(inode->dev, inode->ino);
		inode->next = *bucket;
		*bucket = inode;
	}
	if (inode) {
		inode->lookups++;
		set_place(inode, parent, name);
	}
	pthread_mutex_unlock(&inodes.lock);
	if (is_known || !inode)
		close(fd);
	return inode;
}

static void inode_release(fuse_ino_t ino, uint64_t lookups)
{
	struct inode *inode = inode_of(ino);
	if (inode == &root)
		return;
	pthread_mutex_lock(&inodes.lock);
	inode->lookups -= lookups;
	bool is_last = !inode->lookups;
	if (is_last) {
		struct inode **link = bucket_of(inode->dev, inode->ino);
		while (*link != inode)
			link = &(*link)->next;
		*link = inode->next;
		inodes.count--;
	}
	pthread_mutex_unlock(&inodes.lock);
	if (is_last) {
		close(inode->fd);
		free(inode->name);
		free(inode);
	}
}

/* After a rename the kernel does not look the name up again: note it ourselves. */
static void inode_moved(fuse_ino_t parent, const char *name)
{
	struct stat attr;
	if (fstatat(fd_of(parent), name, &attr, AT_SYMLINK_NOFOLLOW))
		return;
	pthread_mutex_lock(&inodes.lock);
	for (struct inode *inode = *bucket_of(attr.st_dev, attr.st_ino); inode; inode = inode->next)
		if (inode->ino == attr.st_ino && inode->dev == attr.st_dev)
			set_place(inode, parent, name);
	pthread_mutex_unlock(&inodes.lock);
}

static double seconds(word *ns)
{
	return (double)atomic_load(ns) / 1e9;
}

/* Where there is no time of the last change, that of the contents stands for it, as sshfs has it. */
static void hide_ctime(struct stat *attr)
{
	if (!atomic_load(&control->has_ctime))
		attr->st_ctim = attr->st_mtim;
}

/* 0, or the errno. On success the kernel holds one more reference, which a reply that fails must give back. */
static int lookup(fuse_ino_t parent, const char *name, struct fuse_entry_param *entry)
{
	memset(entry, 0, sizeof *entry);
	int fd = openat(fd_of(parent), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (fstatat(fd, "", &entry->attr, AT_EMPTY_PATH)) {
		int error = errno;
		close(fd);
		return error;
	}
	struct inode *inode = inode_acquire(fd, &entry->attr, parent, name);
	if (!inode)
		return ENOMEM;
	hide_ctime(&entry->attr);
	entry->ino = (fuse_ino_t)inode;
	entry->entry_timeout = seconds(&control->entry_timeout_ns);
	entry->attr_timeout = seconds(&control->attr_timeout_ns);
	return 0;
}

/* ------------------------------------------------------------------------------------------- what a request goes by */

static bool name_matches(const char *wanted, const char *name)
{
	return name && memmem(name, strlen(name), wanted, strnlen(wanted, NAME_BYTES));
}

static bool is_chosen(enum operation operation, word *mask, const char *wanted, fuse_ino_t ino, const char *name,
		      const char *other_name)
{
	if (!(atomic_load(mask) >> operation & 1))
		return false;
	if (!*wanted || name_matches(wanted, name) || name_matches(wanted, other_name))
		return true;
	if (name)
		return false;
	pthread_mutex_lock(&inodes.lock);
	bool matches = name_matches(wanted, inode_of(ino)->name);
	pthread_mutex_unlock(&inodes.lock);
	return matches;
}

static void count(enum operation operation)
{
	atomic_fetch_add_explicit(&control->requests[operation], 1, memory_order_relaxed);
}

/* Every request passes here once, before the backing directory is asked: counted, delayed, hung, failed, in that
 * order. True if it shall go on; otherwise it was answered. (Forgets and releases are counted alone: nobody waits for
 * them, and they cannot fail.) */
static bool admit_names(fuse_req_t req, enum operation operation, fuse_ino_t ino, const char *name,
			const char *other_name)
{
	count(operation);
	uint64_t latency_ns = atomic_load_explicit(&control->latency_ns, memory_order_relaxed);
	if (latency_ns && !(atomic_load_explicit(&control->free_mask, memory_order_relaxed) >> operation & 1)) {
		uint64_t deadline_ns = now_ns() + latency_ns;
		atomic_fetch_add(&control->delayed, 1);
		atomic_fetch_add(&control->delayed_ns, latency_ns);
		begin_waiting();
		sleep_until_ns(deadline_ns);
		end_waiting();
	}
	if (is_chosen(operation, &control->hang_mask, control->hang_name, ino, name, other_name) && !hang(req)) {
		fuse_reply_err(req, EINTR);
		return false;
	}
	if (is_chosen(operation, &control->fault_mask, control->fault_name, ino, name, other_name)) {
		atomic_fetch_add(&control->faulted, 1);
		fuse_reply_err(req, (int)atomic_load(&control->fault_errno));
		return false;
	}
	return true;
}

static bool admit_name(fuse_req_t req, enum operation operation, fuse_ino_t parent, const char *name)
{
	return admit_names(req, operation, parent, name, NULL);
}

static bool admit(fuse_req_t req, enum operation operation, fuse_ino_t ino)
{
	return admit_names(req, operation, ino, NULL, NULL);
}

static void reply_result(fuse_req_t req, int result)
{
	fuse_reply_err(req, result < 0 ? errno : 0);
}

/* A buffer of this thread, kept: requests are at most 1 MiB, and an allocation of that size is a system call. */
static char *thread_buffer(size_t size)
{
	static _Thread_local char *buffer;
	static _Thread_local size_t capacity;
	if (size > capacity) {
		free(buffer);
		buffer = malloc(size);
		capacity = buffer ? size : 0;
	}
	return buffer;
}

/* --------------------------------------------------------------------------------------------- names and attributes */

static void reply_looked_up(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry;
	int error = lookup(parent, name, &entry);
	if (error)
		fuse_reply_err(req, error);
	else if (fuse_reply_entry(req, &entry))
		inode_release(entry.ino, 1);
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (!admit_name(req, OP_lookup, parent, name))
		return;
	struct fuse_entry_param entry;
	int error = lookup(parent, name, &entry);
	if (error == ENOENT && atomic_load(&control->negative_timeout_ns)) {
		entry = (struct fuse_entry_param){.entry_timeout = seconds(&control->negative_timeout_ns)};
		fuse_reply_entry(req, &entry);
	} else if (error)
		fuse_reply_err(req, error);
	else if (fuse_reply_entry(req, &entry))
		inode_release(entry.ino, 1);
}

static void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
	count(OP_forget);
	inode_release(ino, lookups);
	fuse_reply_none(req);
}

static void do_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < n; i++) {
		count(OP_forget);
		inode_release(forgets[i].ino, forgets[i].nlookup);
	}
	fuse_reply_none(req);
}

static void reply_attr(fuse_req_t req, fuse_ino_t ino)
{
	struct stat attr;
	if (fstatat(fd_of(ino), "", &attr, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) {
		fuse_reply_err(req, errno);
		return;
	}
	hide_ctime(&attr);
	fuse_reply_attr(req, &attr, seconds(&control->attr_timeout_ns));
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	(void)file;
	if (admit(req, OP_getattr, ino))
		reply_attr(req, ino);
}

static struct timespec wanted_time(int to_set, int set, int set_now, struct timespec given)
{
	if (to_set & set_now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	return to_set & set ? given : (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int set_attributes(fuse_ino_t ino, const struct stat *attr, int to_set, struct fuse_file_info *file)
{
	int fd = fd_of(ino);
	struct proc_path path = proc_path(fd);
	if (to_set & FUSE_SET_ATTR_MODE && chmod(path.text, attr->st_mode))
		return -1;
	if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID) &&
	    fchownat(fd, "", to_set & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1,
		     to_set & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return -1;
	if (to_set & FUSE_SET_ATTR_SIZE &&
	    (file ? ftruncate((int)file->fh, attr->st_size) : truncate(path.text, attr->st_size)))
		return -1;
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)) {
		struct timespec times[2] = {
			wanted_time(to_set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, attr->st_atim),
			wanted_time(to_set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, attr->st_mtim),
		};
		return utimensat(AT_FDCWD, path.text, times, 0);
	}
	return 0;
}

static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *file)
{
	if (!admit(req, OP_setattr, ino))
		return;
	if (set_attributes(ino, attr, to_set, file))
		fuse_reply_err(req, errno);
	else
		reply_attr(req, ino);
}

static void do_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[PATH_MAX + 1];
	if (!admit(req, OP_readlink, ino))
		return;
	ssize_t length = readlinkat(fd_of(ino), "", target, sizeof target - 1);
	if (length < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	target[length] = 0;
	fuse_reply_readlink(req, target);
}

/* As root we create for others: what is new belongs to the one who asked, or to the group of a set-group-id parent. */
static void give_to_caller(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct fuse_ctx *caller = fuse_req_ctx(req);
	struct stat attr;
	if (geteuid() || (!caller->uid && !caller->gid) || fstatat(fd_of(parent), "", &attr, AT_EMPTY_PATH))
		return;
	if (fchownat(fd_of(parent), name, caller->uid, attr.st_mode & S_ISGID ? (gid_t)-1 : caller->gid,
		     AT_SYMLINK_NOFOLLOW))
		return; /* a backing filesystem without owners */
}

static void reply_made(fuse_req_t req, int result, fuse_ino_t parent, const char *name)
{
	if (result) {
		fuse_reply_err(req, errno);
		return;
	}
	give_to_caller(req, parent, name);
	reply_looked_up(req, parent, name);
}

static void do_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
	if (admit_name(req, OP_mknod, parent, name))
		reply_made(req, mknodat(fd_of(parent), name, mode, device), parent, name);
}

static void do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	if (admit_name(req, OP_mkdir, parent, name))
		reply_made(req, mkdirat(fd_of(parent), name, mode), parent, name);
}

static void do_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	if (admit_name(req, OP_symlink, parent, name))
		reply_made(req, symlinkat(target, fd_of(parent), name), parent, name);
}

static void do_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	if (!admit_name(req, OP_link, parent, name))
		return;
	struct proc_path path = proc_path(fd_of(ino));
	if (linkat(AT_FDCWD, path.text, fd_of(parent), name, AT_SYMLINK_FOLLOW))
		fuse_reply_err(req, errno);
	else
		reply_looked_up(req, parent, name);
}

static void do_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (admit_name(req, OP_unlink, parent, name))
		reply_result(req, unlinkat(fd_of(parent), name, 0));
}

static void do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (admit_name(req, OP_rmdir, parent, name))
		reply_result(req, unlinkat(fd_of(parent), name, AT_REMOVEDIR));
}

static void do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
		      unsigned flags)
{
	if (!admit_names(req, OP_rename, parent, name, new_name))
		return;
	if (renameat2(fd_of(parent), name, fd_of(new_parent), new_name, flags)) {
		fuse_reply_err(req, errno);
		return;
	}
	inode_moved(new_parent, new_name);
	if (flags & RENAME_EXCHANGE)
		inode_moved(parent, name);
	fuse_reply_err(req, 0);
}

static void do_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs space;
	if (!admit(req, OP_statfs, ino))
		return;
	if (fstatvfs(fd_of(ino), &space))
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &space);
}

/* ------------------------------------------------------------------------------------------------------------ files */

/* As NFS does at open: the kernel's pages stay valid only while mtime and size are those they were read under. */
static bool may_keep_pages(fuse_ino_t ino, int fd)
{
	struct inode *inode = inode_of(ino);
	struct stat attr;
	if (fstat(fd, &attr))
		return false;
	pthread_mutex_lock(&inodes.lock);
	bool is_same = inode->cached_size == attr.st_size && inode->cached_mtime.tv_sec == attr.st_mtim.tv_sec &&
		       inode->cached_mtime.tv_nsec == attr.st_mtim.tv_nsec;
	inode->cached_size = attr.st_size;
	inode->cached_mtime = attr.st_mtim;
	pthread_mutex_unlock(&inodes.lock);
	return is_same;
}

/* What a file description of ours is opened with: the kernel keeps O_DIRECT and its alignment rules to itself. */
static int backing_flags(int flags)
{
	return (flags & ~(O_NOFOLLOW | O_DIRECT)) | O_CLOEXEC;
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	if (!admit(req, OP_open, ino))
		return;
	struct proc_path path = proc_path(fd_of(ino));
	int fd = open(path.text, backing_flags(file->flags));
	if (fd < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	file->fh = (uint64_t)fd;
	file->keep_cache = may_keep_pages(ino, fd);
	if (fuse_reply_open(req, file))
		close(fd);
}

static void do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *file)
{
	if (!admit_name(req, OP_create, parent, name))
		return;
	int fd = openat(fd_of(parent), name, backing_flags(file->flags) | O_CREAT, mode);
	if (fd < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	give_to_caller(req, parent, name);
	struct fuse_entry_param entry;
	int error = lookup(parent, name, &entry);
	if (error) {
		close(fd);
		fuse_reply_err(req, error);
		return;
	}
	file->fh = (uint64_t)fd;
	if (fuse_reply_create(req, &entry, file)) {
		close(fd);
		inode_release(entry.ino, 1);
	}
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t length, off_t offset, struct fuse_file_info *file)
{
	if (!admit(req, OP_read, ino))
		return;
	char *buffer = thread_buffer(length);
	if (!buffer) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	size_t done = 0;
	while (done < length) { /* a short answer means end of file to the kernel */
		ssize_t n = pread((int)file->fh, buffer + done, length - done, offset + (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && !done) {
			fuse_reply_err(req, errno);
			return;
		}
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	transfer(done);
	atomic_fetch_add(&control->bytes_read, done);
	fuse_reply_buf(req, buffer, done);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t length, off_t offset,
		     struct fuse_file_info *file)
{
	if (!admit(req, OP_write, ino))
		return;
	transfer(length);
	ssize_t n = pwrite((int)file->fh, data, length, offset);
	if (n < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	atomic_fetch_add(&control->bytes_written, (size_t)n);
	fuse_reply_write(req, (size_t)n);
}

static void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	if (admit(req, OP_flush, ino))
		reply_result(req, close(dup((int)file->fh)));
}

static void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	(void)ino;
	count(OP_release);
	close((int)file->fh);
	fuse_reply_err(req, 0);
}

static void do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *file)
{
	if (admit(req, OP_fsync, ino))
		reply_result(req, datasync ? fdatasync((int)file->fh) : fsync((int)file->fh));
}

static void do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
			 struct fuse_file_info *file)
{
	if (admit(req, OP_fallocate, ino))
		reply_result(req, fallocate((int)file->fh, mode, offset, length));
}

static void do_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *file)
{
	if (!admit(req, OP_lseek, ino))
		return;
	off_t position = lseek((int)file->fh, offset, whence);
	if (position < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_lseek(req, position);
}

/* ------------------------------------------------------------------------------------------------------ directories */

struct directory {
	DIR *stream;
	off_t offset; /* where the stream stands */
	struct dirent *unsent;
};

static struct directory *directory_of(struct fuse_file_info *file)
{
	return (struct directory *)(uintptr_t)file->fh;
}

static void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	if (!admit(req, OP_opendir, ino))
		return;
	int fd = openat(fd_of(ino), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct directory *directory = fd < 0 ? NULL : calloc(1, sizeof *directory);
	if (!directory || !(directory->stream = fdopendir(fd))) {
		fuse_reply_err(req, errno);
		free(directory);
		if (fd >= 0)
			close(fd);
		return;
	}
	file->fh = (uintptr_t)directory;
	if (fuse_reply_open(req, file)) {
		closedir(directory->stream);
		free(directory);
	}
}

/* Adds one entry to the reply; its size, which is more than the room when it did not fit. */
static size_t add_entry(fuse_req_t req, fuse_ino_t ino, struct dirent *dirent, char *at, size_t room, bool is_plus)
{
	struct fuse_entry_param entry = {.attr = {.st_ino = dirent->d_ino, .st_mode = DTTOIF(dirent->d_type)}};
	if (!is_plus)
		return fuse_add_direntry(req, at, room, dirent->d_name, &entry.attr, dirent->d_off);
	bool is_dot = !strcmp(dirent->d_name, ".") || !strcmp(dirent->d_name, "..");
	if (!is_dot && lookup(ino, dirent->d_name, &entry)) /* gone meanwhile: the name alone */
		entry = (struct fuse_entry_param){
			.attr = {.st_ino = dirent->d_ino, .st_mode = DTTOIF(dirent->d_type)}};
	size_t size = fuse_add_direntry_plus(req, at, room, dirent->d_name, &entry, dirent->d_off);
	if (size > room && entry.ino)
		inode_release(entry.ino, 1);
	return size;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *file, bool is_plus)
{
	struct directory *directory = directory_of(file);
	char *buffer = thread_buffer(size);
	if (!buffer) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (offset != directory->offset) {
		seekdir(directory->stream, offset);
		directory->offset = offset;
		directory->unsent = NULL;
	}
	size_t filled = 0;
	int error = 0;
	for (;;) {
		errno = 0;
		struct dirent *dirent = directory->unsent ? directory->unsent : readdir(directory->stream);
		if (!dirent) {
			error = errno;
			break;
		}
		directory->unsent = dirent; /* valid until the next readdir() */
		size_t entry_size = add_entry(req, ino, dirent, buffer + filled, size - filled, is_plus);
		if (entry_size > size - filled)
			break;
		filled += entry_size;
		directory->unsent = NULL;
		directory->offset = dirent->d_off;
	}
	if (error && !filled)
		fuse_reply_err(req, error);
	else
		fuse_reply_buf(req, buffer, filled);
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *file)
{
	if (admit(req, OP_readdir, ino))
		list(req, ino, size, offset, file, false);
}

static void do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *file)
{
	if (admit(req, OP_readdirplus, ino))
		list(req, ino, size, offset, file, true);
}

static void do_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	(void)ino;
	count(OP_releasedir);
	struct directory *directory = directory_of(file);
	closedir(directory->stream);
	free(directory);
	fuse_reply_err(req, 0);
}

static void do_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *file)
{
	if (!admit(req, OP_fsyncdir, ino))
		return;
	int fd = dirfd(directory_of(file)->stream);
	reply_result(req, datasync ? fdatasync(fd) : fsync(fd));
}

/* ----------------------------------------------------------------------------------------------- extended attributes */

static void reply_xattr(fuse_req_t req, ssize_t result, const char *buffer, size_t size)
{
	if (result < 0)
		fuse_reply_err(req, errno);
	else if (!size)
		fuse_reply_xattr(req, (size_t)result);
	else
		fuse_reply_buf(req, buffer, (size_t)result);
}

static void do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	if (!admit(req, OP_getxattr, ino))
		return;
	char *buffer = thread_buffer(size);
	struct proc_path path = proc_path(fd_of(ino));
	reply_xattr(req, getxattr(path.text, name, buffer, size), buffer, size);
}

static void do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	if (!admit(req, OP_listxattr, ino))
		return;
	char *buffer = thread_buffer(size);
	struct proc_path path = proc_path(fd_of(ino));
	reply_xattr(req, listxattr(path.text, buffer, size), buffer, size);
}

static void do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	if (!admit(req, OP_setxattr, ino))
		return;
	struct proc_path path = proc_path(fd_of(ino));
	reply_result(req, setxattr(path.text, name, value, size, flags));
}

static void do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	if (!admit(req, OP_removexattr, ino))
		return;
	struct proc_path path = proc_path(fd_of(ino));
	reply_result(req, removexattr(path.text, name));
}

/* ------------------------------------------------------------------------------------------------------- the session */

/* Lookups in one directory do not wait for each other over a network, so they must not here; the kernel serializes them
 * unless FUSE_INIT is answered otherwise, and libfuse 3.14 drops that wish. Every reply goes out through writev, which
 * the program's own definition stands before libc's: the first reply is FUSE_INIT's. */
ssize_t writev(int fd, const struct iovec *parts, int count)
{
	static atomic_flag is_answered = ATOMIC_FLAG_INIT;
	if (!atomic_flag_test_and_set(&is_answered) && count == 2 && parts[1].iov_len >= sizeof(struct fuse_init_out))
		((struct fuse_init_out *)parts[1].iov_base)->flags |= FUSE_PARALLEL_DIROPS;
	return syscall(SYS_writev, fd, parts, count);
}

static void do_init(void *data, struct fuse_conn_info *connection)
{
	(void)data;
	uint64_t background = atomic_load(&control->max_background);
	connection->max_background = (unsigned)background;
	connection->congestion_threshold = (unsigned)background;
	connection->want |= connection->capable & FUSE_CAP_EXPIRE_ONLY;
	atomic_store(&control->ready, 1);
}

/* Not here, so answered ENOSYS by libfuse: access (the kernel checks permissions), locks (local), copy_file_range (the
 * kernel copies), ioctl, poll. */
static const struct fuse_lowlevel_ops operations = {
	.init = do_init,
	.lookup = do_lookup,
	.forget = do_forget,
	.forget_multi = do_forget_multi,
	.getattr = do_getattr,
	.setattr = do_setattr,
	.readlink = do_readlink,
	.mknod = do_mknod,
	.mkdir = do_mkdir,
	.symlink = do_symlink,
	.link = do_link,
	.unlink = do_unlink,
	.rmdir = do_rmdir,
	.rename = do_rename,
	.open = do_open,
	.create = do_create,
	.read = do_read,
	.write = do_write,
	.flush = do_flush,
	.release = do_release,
	.fsync = do_fsync,
	.opendir = do_opendir,
	.readdir = do_readdir,
	.readdirplus = do_readdirplus,
	.releasedir = do_releasedir,
	.fsyncdir = do_fsyncdir,
	.statfs = do_statfs,
	.getxattr = do_getxattr,
	.setxattr = do_setxattr,
	.listxattr = do_listxattr,
	.removexattr = do_removexattr,
	.fallocate = do_fallocate,
	.lseek = do_lseek,
};

static void expire_entry(fuse_ino_t parent, const char *name)
{
#if FUSE_VERSION < FUSE_MAKE_VERSION(3, 15)
	int result = fuse_lowlevel_notify_expire_entry(session, parent, name, strlen(name), FUSE_LL_EXPIRE_ONLY);
#else
	int result = fuse_lowlevel_notify_expire_entry(session, parent, name, strlen(name));
#endif
	if (result == -ENOSYS) /* before Linux 6.2: harder, it also detaches what is mounted there */
		fuse_lowlevel_notify_inval_entry(session, parent, name, strlen(name));
}

struct place {
	fuse_ino_t ino, parent;
	char *name;
};

/* Makes the kernel forget names, attributes and pages. Inodes that come or go meanwhile do no harm: the kernel answers
 * ENOENT for a number that it does not know. Never called by a thread that serves requests: a page may be locked by
 * a read that waits for one of those. */
static void drop_kernel_caches(void)
{
	pthread_mutex_lock(&inodes.lock);
	struct place *places = calloc(inodes.count + 1, sizeof *places);
	size_t n = 0;
	for (size_t i = 0; places && i <= inodes.mask; i++)
		for (struct inode *inode = inodes.buckets[i]; inode; inode = inode->next)
			if (inode->name)
				places[n++] = (struct place){(fuse_ino_t)inode, inode->parent, strdup(inode->name)};
	pthread_mutex_unlock(&inodes.lock);
	for (size_t i = 0; i < n; i++) {
		if (places[i].name)
			expire_entry(places[i].parent, places[i].name);
		fuse_lowlevel_notify_inval_inode(session, places[i].ino, 0, 0);
		free(places[i].name);
	}
	free(places);
	fuse_lowlevel_notify_inval_inode(session, FUSE_ROOT_ID, 0, 0);
	atomic_fetch_add(&control->drops_done, 1);
}

static void *obey_starter(void *data)
{
	(void)data;
	char order;
	for (;;) {
		ssize_t n = read(STDIN_FILENO, &order, 1);
		if (n == 1 && order == 'd')
			drop_kernel_caches();
		else if (n == 0 || (n < 0 && errno != EINTR))
			break;
	}
	atomic_store(&control->leaving, 1);
	kill(getpid(), SIGTERM); /* libfuse's own way out of its loop */
	return NULL;
}

static struct control *map_control(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	void *page = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return page == MAP_FAILED ? NULL : page;
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit = {1 << 20, 1 << 20};
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0) /* as root */
		return;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* With the thread that obeys the starter, whose signals are blocked: they are for this thread. */
static int serve(void)
{
	sigset_t all, before;
	pthread_t starter;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&starter, NULL, obey_starter, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return error;
	struct fuse_loop_config *loop = fuse_loop_cfg_create();
	fuse_loop_cfg_set_max_threads(loop, (unsigned)atomic_load(&control->threads));
	fuse_loop_cfg_set_idle_threads(loop, (unsigned)atomic_load(&control->threads));
	error = fuse_session_loop_mt(session, loop);
	fuse_loop_cfg_destroy(loop);
	return error;
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: slowdir BACKING MOUNTPOINT CONTROL [-o OPTION]...\n");
		return 2;
	}
	const char *backing = argv[1], *mountpoint = argv[2];
	control = map_control(argv[3]);
	if (!control || atomic_load(&control->magic) != MAGIC) {
		fprintf(stderr, "slowdir: %s: not a control file of this version\n", argv[3]);
		return 2;
	}
	memcpy(control->operations, operation_names, sizeof operation_names);
	root.fd = open(backing, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root.fd < 0) {
		fprintf(stderr, "slowdir: %s: %s\n", backing, strerror(errno));
		return 1;
	}
	umask(0); /* the kernel has applied the caller's */
	raise_descriptor_limit();
	prctl(PR_SET_TIMERSLACK, 1000UL); /* 1 us: the default of 50 would be added to each delay */
	rehash(1 << 14);

	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	fuse_opt_add_arg(&args, "slowdir");
	for (int i = 4; i < argc; i++)
		fuse_opt_add_arg(&args, argv[i]);
	session = fuse_session_new(&args, &operations, sizeof operations, NULL);
	int status = 1;
	if (session && !fuse_set_signal_handlers(session)) {
		if (!fuse_session_mount(session, mountpoint)) {
			status = serve() < 0;
			atomic_store(&control->leaving, 1);
			fuse_session_unmount(session);
		}
		fuse_remove_signal_handlers(session);
	}
	if (session)
		fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	return status;
}
