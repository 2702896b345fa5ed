/* Records what a power cut cannot take away: preloaded into a process, it copies each file and folder that is synced.

   POWER_CUT_ROOT    folder whose files are recorded
   POWER_CUT_RECORD  folder of the record: copies of files, and lists of folders, and "log" with one line for each sync:
                     kind (file or folder), inode, name of the copy or list

   The copy is made before the sync, and its line is written after it: the disk has at least this content. Every synced
   inode stays open until the process ends, so that no later file has its number. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int counter;

static int is_recorded(int fd, struct stat *found) {
    char link[64], path[4096];
    const char *root = getenv("POWER_CUT_ROOT");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (root == NULL || getenv("POWER_CUT_RECORD") == NULL || length < 0 || fstat(fd, found) != 0) return 0;
    path[length] = 0;
    return strncmp(path, root, strlen(root)) == 0;
}

static void copy_file(int fd, int copy) {
    char link[64], buffer[65536];
    off_t at = 0;
    ssize_t count;
    /* A second description, which is never closed: closing it would release this process's locks on the file. */
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int source = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR ? fd : open(link, O_RDONLY | O_CLOEXEC);
    while ((count = pread(source, buffer, sizeof buffer, at)) > 0) {
        if (write(copy, buffer, count) != count) abort();
        at += count;
    }
}

static void list_folder(int fd, int list) {
    struct dirent *entry;
    struct stat found;
    DIR *folder = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    while ((entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (fstatat(fd, entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0) continue;
        dprintf(list, "%s %lu %s\n", S_ISDIR(found.st_mode) ? "folder" : "file", (unsigned long)found.st_ino, entry->d_name);
    }
    closedir(folder);
}

static int record(int fd, const char *function) {
    int (*sync)(int) = dlsym(RTLD_NEXT, function);
    char name[64], path[4096], link[64];
    struct stat found;
    if (!is_recorded(fd, &found)) return sync(fd);
    const char *folder = getenv("POWER_CUT_RECORD"), *kind = S_ISDIR(found.st_mode) ? "folder" : "file";
    snprintf(name, sizeof name, "%d-%d", getpid(), __sync_add_and_fetch(&counter, 1));
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int copy = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (S_ISDIR(found.st_mode)) list_folder(fd, copy); else copy_file(fd, copy);
    close(copy);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    open(link, O_PATH | O_CLOEXEC);
    int status = sync(fd);
    if (status != 0) return status;
    snprintf(path, sizeof path, "%s/log", folder);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dprintf(log, "%s %lu %s\n", kind, (unsigned long)found.st_ino, name);
    close(log);
    return 0;
}

int fsync(int fd) { return record(fd, "fsync"); }
int fdatasync(int fd) { return record(fd, "fdatasync"); }
