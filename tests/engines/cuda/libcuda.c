// A CUDA driver on host memory: it counts what is held, notes what is called, and fails where it is told to.
// Streams run what they are given at once. Calls without a current context fail, as the real driver's do.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, LAUNCH_FAILED = 719, NOT_CAPTURING = 901 };
static const size_t TOTAL = 1 << 20;
static long memory, pinned, streams, events, modules, graphs, executables, contexts, depth, used;
static unsigned flags, flags_at_first;
static int is_lost, is_capturing, is_context_needed, failing_code;
static char failing[64], notes[1 << 16];

static int called(const char *name) {
    if (strlen(notes) + strlen(name) + 2 < sizeof notes) strcat(strcat(notes, name), " ");
    if (!strcmp(name, failing)) return failing_code;
    if (is_context_needed && !depth) return INVALID_CONTEXT;
    return is_lost ? LAUNCH_FAILED : 0;
}
#define CALLED do { int code = called(__func__); if (code) return code; } while (0)
// A handle, of 64 bits: no default stream, and none that lost its upper half.
#define IN(HANDLE) do { if (!((size_t)(HANDLE) >> 32)) return INVALID_HANDLE; } while (0)
static int make(void **out, long *count) { *out = malloc(8); ++*count; return 0; }
static int end(void *thing, long *count) { free(thing); --*count; return 0; }

// For tests.
void fake_fail(const char *name, int code) { strcpy(failing, name), failing_code = code; }
void fake_need_context(void) { is_context_needed = 1; }
unsigned fake_flags(void) { return flags_at_first; }  // of the primary context when it was made
const char *fake_notes(void) { return notes; }
const char *fake_held(void) {
    static char text[256];
    sprintf(text, "memory %ld pinned %ld streams %ld events %ld modules %ld graphs %ld executables %ld depth %ld", memory,
            pinned, streams, events, modules, graphs, executables, depth);
    return text;
}

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Host GPU", length); return 0; }
int cuDeviceComputeCapability(int *major, int *minor, int device) { *major = 9, *minor = 0; return 0; }
int cuDevicePrimaryCtxSetFlags_v2(int device, unsigned value) { flags = value; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) {
    if (!contexts++) flags_at_first = flags;
    *context = &contexts;
    return 0;
}
int cuCtxPushCurrent_v2(void *context) { ++depth; return 0; }
int cuCtxPopCurrent_v2(void **context) { if (!depth) return INVALID_CONTEXT; --depth; return 0; }
int cuCtxSynchronize(void) { CALLED; return 0; }
int cuMemAlloc_v2(unsigned long long *address, size_t size) {
    CALLED;
    if (used + size > TOTAL) return OUT_OF_MEMORY;
    char *block = malloc(size + 512), *start = (char *)(((size_t)block + 16 + 255) & ~(size_t)255);
    ((void **)start)[-1] = block, ((size_t *)start)[-2] = size;
    *address = (size_t)start, used += size, ++memory;
    return 0;
}
int cuMemFree_v2(unsigned long long address) {
    CALLED;
    used -= ((size_t *)address)[-2];
    return end(((void **)address)[-1], &memory);
}
int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) { CALLED; *free_bytes = TOTAL - used, *total = TOTAL; return 0; }
int cuMemHostAlloc(void **host, size_t size, unsigned flags) { CALLED; *host = malloc(size), ++pinned; return 0; }
int cuMemFreeHost(void *host) { CALLED; return end(host, &pinned); }
int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t size, void *stream) {
    CALLED;
    IN(stream);
    memcpy((void *)to, from, size);
    return 0;
}
int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t size, void *stream) {
    CALLED;
    IN(stream);
    memcpy(to, (void *)from, size);
    return 0;
}
int cuMemsetD8Async(unsigned long long to, unsigned char value, size_t size, void *stream) {
    CALLED;
    IN(stream);
    memset((void *)to, value, size);
    return 0;
}
int cuStreamCreate(void **stream, unsigned flags) { CALLED; return flags == 1 ? make(stream, &streams) : 1; }
int cuStreamDestroy_v2(void *stream) { CALLED; return end(stream, &streams); }
int cuStreamSynchronize(void *stream) { CALLED; IN(stream); return 0; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { CALLED; IN(stream); IN(event); return 0; }
int cuEventCreate(void **event, unsigned flags) { CALLED; return flags == 3 ? make(event, &events) : 1; }
int cuEventDestroy_v2(void *event) { CALLED; return end(event, &events); }
int cuEventRecord(void *event, void *stream) {  // 0 is the default stream
    CALLED;
    if (stream) IN(stream);
    IN(event);
    return 0;
}
int cuEventSynchronize(void *event) { CALLED; IN(event); return 0; }
int cuModuleLoadDataEx(void **module, const void *image, unsigned count, void *options, void *values) {
    CALLED;
    return make(module, &modules);
}
int cuModuleUnload(void *module) { CALLED; return end(module, &modules); }
int cuModuleGetFunction(void **function, void *module, const char *name) { CALLED; *function = module; return 0; }
int cuFuncSetBlockShape(void *function, int x, int y, int z) { CALLED; return 0; }
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **extra) {
    CALLED;
    IN(stream);
    is_lost = x == 666;  // a grid that breaks it
    return 0;
}
int cuStreamBeginCapture_v2(void *stream, int mode) { CALLED; IN(stream); is_capturing = mode == 1; return mode != 1; }
int cuStreamEndCapture(void *stream, void **graph) {
    CALLED;
    if (!is_capturing) return NOT_CAPTURING;
    is_capturing = 0;
    return make(graph, &graphs);
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    CALLED;
    IN(graph);
    return flags ? 1 : make(executable, &executables);
}
int cuGraphLaunch(void *executable, void *stream) { CALLED; IN(executable); IN(stream); return 0; }
int cuGraphExecDestroy(void *executable) { CALLED; return end(executable, &executables); }
int cuGraphDestroy(void *graph) { CALLED; return end(graph, &graphs); }
int cuGetErrorName(int code, const char **name) {
    *name = code == LAUNCH_FAILED ? "CUDA_ERROR_LAUNCH_FAILED" : code == NOT_CAPTURING ? "CUDA_ERROR_OTHER" : 0;
    return 0;
}
int cuGetErrorString(int code, const char **text) {
    *text = code == LAUNCH_FAILED ? "unspecified launch failure" : "some error";
    return 0;
}
