// The kernels of the file RULES as a C library: launched by name with packed arguments, as cuLaunchKernel takes them.
#include <tuple>

#include "shim.h"
#include RULES

template <class T> static T take(const unsigned char* packed, size_t& at) {
    at = (at + alignof(T) - 1) / alignof(T) * alignof(T);
    T value;
    memcpy(&value, packed + at, sizeof value);
    at += sizeof value;
    return value;
}

template <class... A> struct Call : shim::Kernel {
    size_t size = 0;  // of the arguments: before them, as they count it up
    void (*kernel)(A...);
    std::tuple<A...> arguments;
    Call(void (*kernel)(A...), const unsigned char* packed)  // braces: from left to right
        : kernel(kernel), arguments{take<A>(packed, size)...} {}
    void operator()() override { std::apply(kernel, arguments); }
};

template <class... A>
static const char* call(void (*kernel)(A...), const unsigned* grid, const unsigned* block, const unsigned char* packed,
                        size_t size, unsigned order) {
    Call<A...> what(kernel, packed);
    if (what.size != size) return "the packed arguments have another size than the kernel's parameters";
    return shim::run({grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, order, what);
}

// "" or what went wrong.
extern "C" __attribute__((visibility("default"))) const char* launch(
    const char* name, const unsigned* grid, const unsigned* block, const unsigned char* packed, size_t size,
    unsigned order) {
#define KERNEL(NAME) \
    if (!strcmp(name, #NAME)) return call(NAME, grid, block, packed, size, order)
    KERNEL(crotalus_count);
    KERNEL(crotalus_decide);
    KERNEL(crotalus_fuse);
    KERNEL(crotalus_to_unit);
    KERNEL(crotalus_half_to_bytes);
    KERNEL(crotalus_float_to_bytes);
    KERNEL(crotalus_copy);
    return "no such kernel";
}
