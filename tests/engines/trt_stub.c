/* Stands for libcuda and for TensorRT's three libraries: enough for the bindings to be imported, nothing works. */
#include <stddef.h>

#define GIVES_NOTHING(name) void *name(void) { return NULL; }
GIVES_NOTHING(createInferBuilder_INTERNAL)
GIVES_NOTHING(createInferRefitter_INTERNAL)
GIVES_NOTHING(createInferRuntime_INTERNAL)
GIVES_NOTHING(createNvOnnxParserRefitter_INTERNAL)
GIVES_NOTHING(createNvOnnxParser_INTERNAL)
GIVES_NOTHING(getBuilderPluginRegistry)
GIVES_NOTHING(getPluginRegistry)
GIVES_NOTHING(initLibNvInferPlugins)
GIVES_NOTHING(getLogger)
int getNvOnnxParserVersion(void) { return 0; }
int getInferLibVersion(void) { return 0; }

#ifndef INIT
#define INIT 0
#endif

/* A driver with one GPU of compute capability 8.6, or whose cuInit answers INIT. */
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    if (device != 0)
        return 101;
    *value = attribute == 75 ? 8 : attribute == 76 ? 6 : -1;
    return 0;
}
