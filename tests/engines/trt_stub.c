/* Stands for TensorRT's three libraries: enough for the bindings to be imported, nothing works. */
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
