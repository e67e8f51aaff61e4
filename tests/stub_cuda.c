/* libcuda.so.1 for tests where there is no GPU: the calls of the driver API that vsr's device layers make.

   Device memory is host memory and everything runs at once, in the calling thread. Objects are kept in a table, so that
   what is left open (stub_open), and calls that a real driver would refuse or must never see (stub_bad), are counted.
   STUB_CUDA_MEMORY bytes (64 MiB) of device memory, and as many of pinned; STUB_CUDA_VERSION (13000);
   STUB_CUDA_DEVICES (1). stub_fail(n) makes the n-th call from now on fail, counted from 0; calls that take back the
   context don't count. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SUCCESS, INVALID_VALUE, OUT_OF_MEMORY, NO_DEVICE = 100, INVALID_DEVICE, INVALID_CONTEXT = 201, INVALID_HANDLE = 400,
    NOT_FOUND = 500, NOT_READY = 600, CONTEXT_ACTIVE = 708, LAUNCH_FAILED = 719, CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED
};
enum { STREAM, EVENT, DEVICE_MEMORY, PINNED_MEMORY, GRAPH, EXECUTABLE, KINDS };
enum { NON_BLOCKING = 1, BLOCKING_SYNC = 1, DISABLE_TIMING = 2, PORTABLE = 1, RELAXED = 2, SCHEDULE_BLOCKING = 4 };

typedef struct { char *target; const char *source; size_t size; } copy;
typedef struct {
    int kind, open, flags, capturing, broken, recorded;
    char *memory;
    size_t size;
    struct timespec time;
    copy copies[16];
    int count;
} object;

static object table[4096];
static int used, bad, retained[8], flags_of[8], countdown = -1;
static size_t taken[KINDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread int stack[64], depth;

static size_t number(const char *name, size_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static int refuse(int code) { bad++; return code; }

/* Every call below starts here; those that need a context say so. */
static int begin(int context) {
    if (countdown >= 0 && countdown-- == 0) return LAUNCH_FAILED;
    return context && !depth ? refuse(INVALID_CONTEXT) : SUCCESS;
}

static object *get(void *handle, int kind) {
    object *it = handle;
    return it >= table && it < table + used && it->kind == kind && it->open ? it : NULL;
}

static object *make(int kind) {
    pthread_mutex_lock(&lock);
    object *it = used < 4096 ? &table[used++] : NULL;
    pthread_mutex_unlock(&lock);
    if (!it) abort();
    memset(it, 0, sizeof *it);
    it->kind = kind;
    it->open = 1;
    return it;
}

static int drop(void *handle, int kind) {
    object *it = get(handle, kind);
    if (!it) return refuse(INVALID_HANDLE);
    it->open = 0;
    return SUCCESS;
}

/* The object of `kind` that holds all of [at, at + size). */
static object *holder(const void *at, size_t size, int kind) {
    for (int i = 0; i < used; i++) {
        object *it = &table[i];
        if (it->open && it->kind == kind && (char *)at >= it->memory && (char *)at + size <= it->memory + it->size)
            return it;
    }
    return NULL;
}

#define START(context) do { int code = begin(context); if (code) return code; } while (0)

int stub_open(void) { int n = 0; for (int i = 0; i < used; i++) n += table[i].open; return n; }
int stub_retained(void) { int n = 0; for (int i = 0; i < 8; i++) n += retained[i]; return n; }
int stub_depth(void) { return depth; }
int stub_flags(int device) { return flags_of[device]; }
int stub_bad(void) { int n = bad; bad = 0; return n; }
void stub_fail(int calls) { countdown = calls; }
int stub_left(void) { return countdown; }
void stub_forget(void) { for (int i = 0; i < used; i++) table[i].open = 0; }

int cuInit(unsigned flags) { return number("STUB_CUDA_DEVICES", 1) ? SUCCESS : NO_DEVICE; }
int cuDriverGetVersion(int *version) { *version = (int)number("STUB_CUDA_VERSION", 13000); return SUCCESS; }
int cuDeviceGetCount(int *count) { *count = (int)number("STUB_CUDA_DEVICES", 1); return SUCCESS; }
int cuDeviceGet(int *device, int index) {
    *device = index;
    return index >= 0 && index < (int)number("STUB_CUDA_DEVICES", 1) ? SUCCESS : INVALID_DEVICE;
}
int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, (size_t)size, "Stub GPU %d", device);
    return SUCCESS;
}
int cuDeviceTotalMem_v2(size_t *size, int device) { *size = number("STUB_CUDA_MEMORY", 64 << 20); return SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 9 : 0; /* compute capability, major; minor is 76 */
    return SUCCESS;
}
int cuDeviceComputeCapability(int *major, int *minor, int device) { *major = 9; *minor = 0; return SUCCESS; }

int cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags) {
    START(0);
    if (flags != SCHEDULE_BLOCKING) return refuse(INVALID_VALUE);
    if (retained[device]) return CONTEXT_ACTIVE;
    flags_of[device] = (int)flags;
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
    START(0);
    retained[device]++;
    *context = &retained[device];
    return SUCCESS;
}
int cuDevicePrimaryCtxRelease_v2(int device) { return retained[device]-- > 0 ? SUCCESS : refuse(INVALID_CONTEXT); }
int cuCtxPushCurrent_v2(void *context) {
    START(0);
    int device = (int)((int *)context - retained);
    if (device < 0 || device >= 8 || !retained[device] || depth == 64) return refuse(INVALID_CONTEXT);
    stack[depth++] = device;
    return SUCCESS;
}
int cuCtxPopCurrent_v2(void **context) {
    if (!depth) return refuse(INVALID_CONTEXT);
    *context = &retained[stack[--depth]];
    return SUCCESS;
}

int cuMemGetInfo_v2(size_t *free, size_t *total) {
    START(1);
    *total = number("STUB_CUDA_MEMORY", 64 << 20);
    *free = *total - taken[DEVICE_MEMORY];
    return SUCCESS;
}
static int take(void **memory, size_t size, int kind) {
    if (!size) return refuse(INVALID_VALUE);
    if (taken[kind] + size > number("STUB_CUDA_MEMORY", 64 << 20)) return OUT_OF_MEMORY;
    if (posix_memalign(memory, 4096, size)) return OUT_OF_MEMORY;
    memset(*memory, 0xA5, size);
    object *it = make(kind);
    it->memory = *memory;
    it->size = size;
    taken[kind] += size;
    return SUCCESS;
}
static int give_back(void *memory, int kind) {
    object *it = memory ? holder(memory, 1, kind) : NULL;
    if (!it || it->memory != memory) return refuse(INVALID_VALUE);
    taken[kind] -= it->size;
    it->open = 0;
    free(memory);
    return SUCCESS;
}
int cuMemAlloc_v2(void **memory, size_t size) { START(1); return take(memory, size, DEVICE_MEMORY); }
int cuMemFree_v2(void *memory) { START(1); return give_back(memory, DEVICE_MEMORY); }
int cuMemHostAlloc(void **memory, size_t size, unsigned flags) {
    START(1);
    return flags & PORTABLE ? take(memory, size, PINNED_MEMORY) : refuse(INVALID_VALUE);
}
int cuMemFreeHost(void *memory) { START(1); return give_back(memory, PINNED_MEMORY); }

static int move(void *target, int target_kind, const void *source, int source_kind, size_t size, void *handle) {
    START(1);
    object *stream = get(handle, STREAM);
    if (!stream) return refuse(INVALID_HANDLE);
    if (!holder(target, size, target_kind) || !holder(source, size, source_kind)) return refuse(INVALID_VALUE);
    if (!stream->capturing)
        memcpy(target, source, size);
    else
        stream->copies[stream->count++ % 16] = (copy){target, source, size};
    return SUCCESS;
}
int cuMemcpyHtoDAsync_v2(void *target, const void *source, size_t size, void *stream) {
    return move(target, DEVICE_MEMORY, source, PINNED_MEMORY, size, stream);
}
int cuMemcpyDtoHAsync_v2(void *target, const void *source, size_t size, void *stream) {
    return move(target, PINNED_MEMORY, source, DEVICE_MEMORY, size, stream);
}

typedef struct {
    size_t x, y;
    unsigned kind;
    void *host, *device, *array;
    size_t pitch;
} side;
typedef struct { side source, target; size_t width, height; } rectangle; /* CUDA_MEMCPY2D */
int cuMemcpy2DAsync_v2(const rectangle *it, void *handle) {
    START(1);
    const side *from = &it->source, *to = &it->target;
    object *stream = get(handle, STREAM);
    if (!stream) return refuse(INVALID_HANDLE);
    if (stream->capturing || from->kind != 2 || to->kind != 2 || from->x || from->y || to->x || to->y || !it->height ||
        it->width > from->pitch || it->width > to->pitch)
        return refuse(INVALID_VALUE);
    for (size_t row = 0; row < it->height; row++) {
        char *source = (char *)from->device + row * from->pitch, *target = (char *)to->device + row * to->pitch;
        if (!holder(source, it->width, DEVICE_MEMORY) || !holder(target, it->width, DEVICE_MEMORY))
            return refuse(INVALID_VALUE);
        memcpy(target, source, it->width);
    }
    return SUCCESS;
}

int cuStreamCreate(void **stream, unsigned flags) {
    START(1);
    if (flags != NON_BLOCKING) return refuse(INVALID_VALUE);
    *stream = make(STREAM);
    return SUCCESS;
}
int cuStreamDestroy_v2(void *stream) { START(1); return drop(stream, STREAM); }
int cuStreamSynchronize(void *handle) {
    START(1);
    object *stream = get(handle, STREAM);
    if (!stream) return refuse(INVALID_HANDLE);
    stream->broken = stream->capturing;
    return stream->capturing ? CAPTURE_UNSUPPORTED : SUCCESS;
}
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
    START(1);
    return get(stream, STREAM) && get(event, EVENT) ? SUCCESS : refuse(INVALID_HANDLE);
}
int cuStreamBeginCapture_v2(void *handle, int mode) {
    START(1);
    object *stream = get(handle, STREAM);
    if (!stream || mode != RELAXED || stream->capturing) return refuse(INVALID_VALUE);
    stream->capturing = 1;
    stream->broken = stream->count = 0;
    return SUCCESS;
}
int cuStreamEndCapture(void *handle, void **graph) {
    START(1);
    object *stream = get(handle, STREAM);
    *graph = NULL;
    if (!stream || !stream->capturing) return refuse(INVALID_VALUE);
    stream->capturing = 0;
    if (stream->broken) return CAPTURE_INVALIDATED;
    object *it = make(GRAPH);
    memcpy(it->copies, stream->copies, sizeof it->copies);
    it->count = stream->count;
    *graph = it;
    return SUCCESS;
}

int cuGraphInstantiateWithFlags(void **executable, void *handle, unsigned long long flags) {
    START(1);
    object *graph = get(handle, GRAPH);
    if (!graph) return refuse(INVALID_HANDLE);
    object *it = make(EXECUTABLE);
    memcpy(it->copies, graph->copies, sizeof it->copies);
    it->count = graph->count;
    *executable = it;
    return SUCCESS;
}
int cuGraphLaunch(void *handle, void *stream) {
    START(1);
    object *it = get(handle, EXECUTABLE);
    if (!it || !get(stream, STREAM)) return refuse(INVALID_HANDLE);
    for (int i = 0; i < it->count; i++) memcpy(it->copies[i].target, it->copies[i].source, it->copies[i].size);
    return SUCCESS;
}
int cuGraphExecDestroy(void *executable) { START(1); return drop(executable, EXECUTABLE); }
int cuGraphDestroy(void *graph) { START(1); return drop(graph, GRAPH); }

int cuEventCreate(void **event, unsigned flags) {
    START(1);
    if (!(flags & BLOCKING_SYNC)) return refuse(INVALID_VALUE);
    object *it = make(EVENT);
    it->flags = (int)flags;
    *event = it;
    return SUCCESS;
}
int cuEventDestroy_v2(void *event) { START(1); return drop(event, EVENT); }
int cuEventRecord(void *handle, void *stream) {
    START(1);
    object *event = get(handle, EVENT);
    if (!event || (stream && !get(stream, STREAM))) return refuse(INVALID_HANDLE); /* NULL is the default stream */
    clock_gettime(CLOCK_MONOTONIC, &event->time);
    event->recorded = 1;
    return SUCCESS;
}
int cuEventQuery(void *event) { START(1); return get(event, EVENT) ? SUCCESS : refuse(INVALID_HANDLE); }
int cuEventSynchronize(void *event) { START(1); return get(event, EVENT) ? SUCCESS : refuse(INVALID_HANDLE); }
int cuEventElapsedTime_v2(float *milliseconds, void *first, void *second) {
    START(1);
    object *a = get(first, EVENT), *b = get(second, EVENT);
    if (!a || !b || !a->recorded || !b->recorded || (a->flags | b->flags) & DISABLE_TIMING)
        return INVALID_HANDLE;
    *milliseconds = (float)((b->time.tv_sec - a->time.tv_sec) * 1e3 + (b->time.tv_nsec - a->time.tv_nsec) / 1e6);
    return SUCCESS;
}
int cuEventElapsedTime(float *milliseconds, void *first, void *second) {
    return cuEventElapsedTime_v2(milliseconds, first, second);
}

static const struct { int code; const char *name, *text; } errors[] = {
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CONTEXT_ACTIVE, "CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", "primary context is active"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "capture was broken off by an earlier error"},
};
static int describe(int code, const char **text, int name) {
    *text = "unknown";
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) *text = name ? errors[i].name : errors[i].text;
    return SUCCESS;
}
int cuGetErrorName(int code, const char **text) { return describe(code, text, 1); }
int cuGetErrorString(int code, const char **text) { return describe(code, text, 0); }

/* By the name without its version, the newest version there is; cuGraphInstantiate's has another name. */
int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status) {
    char name[128];
    void *self = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    snprintf(name, sizeof name, "%s_v2", symbol);
    *function = dlsym(self, name);
    if (!*function) *function = dlsym(self, strcmp(symbol, "cuGraphInstantiate") ? symbol : "cuGraphInstantiateWithFlags");
    if (status) *status = *function ? 0 : 1;
    return *function ? SUCCESS : NOT_FOUND;
}
