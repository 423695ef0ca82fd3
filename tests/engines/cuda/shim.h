// Runs CUDA kernels on the CPU: a fiber for each thread of a block, blocks one after another, one OS thread.
// Barriers and shuffles are real: a fiber waits until its peers arrive. What a GPU leaves undefined is an error here
// or made visible: a barrier that some threads never reach, a shuffle that a lane of the mask misses, shared memory
// that was not written (it holds rubbish). Fibers change hands only at barriers and shuffles, so a missing barrier
// shows by order: run each kernel forwards, backwards and shuffled. C++ headers are left out: a mutant compiles in
// half a second.
#pragma once
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("gpu_shared")))
extern "C" char __start_gpu_shared[], __stop_gpu_shared[];  // set by the linker
extern "C" float fmaxf(float, float), fminf(float, float), rintf(float);

struct alignas(8) float2 { float x, y; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct dim3 { unsigned x, y, z; };
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline float from_half(unsigned short bits) {
    _Float16 value;
    memcpy(&value, &bits, sizeof value);
    return (float)value;
}
inline unsigned short to_half(float value) {
    const _Float16 rounded = (_Float16)value;
    unsigned short bits;
    memcpy(&bits, &rounded, sizeof bits);
    return bits;
}

namespace shim {
constexpr unsigned WARP = 32, MOST_THREADS = 256, STACK = 32 * 1024;

struct Fiber {
    ucontext_t context;
    dim3 thread;
    unsigned index;  // in the block
    unsigned long barriers, shuffles;  // arrived at
    bool is_done;
};

struct Kernel {  // with its arguments
    virtual void operator()() = 0;
};

inline Fiber fibers[MOST_THREADS];
inline unsigned count;  // of fibers
alignas(16) inline char stacks[MOST_THREADS][STACK];
inline Fiber* current;
inline ucontext_t scheduler;
inline dim3 grid, block, block_index;
inline Kernel* kernel;
inline char error[256];
inline bool has_moved;  // whether any fiber got further in this round
inline unsigned long long slot[2][MOST_THREADS];  // what lanes show each other, in turn

inline void yield() { swapcontext(&current->context, &scheduler); }

inline void fail(const char* what, unsigned thread) {  // does not return: the scheduler gives the block up
    snprintf(error, sizeof error, "thread %u waits at a %s thread %u", current->index, what, thread);
    for (;;) yield();
}

inline void start() {
    (*kernel)();
    current->is_done = has_moved = true;
    yield();
}

// Until the fibers from..to have all arrived as often as this one.
inline void meet(unsigned long Fiber::*arrived, unsigned from, unsigned to, const char* what) {
    const unsigned long wanted = ++(current->*arrived);
    has_moved = true;
    for (;;) {
        unsigned i = from;
        while (i < to && fibers[i].*arrived >= wanted) ++i;
        if (i == to) return;
        if (fibers[i].is_done) fail(what, i);
        yield();
    }
}

template <class T> T exchange(unsigned mask, T value, unsigned source) {
    const unsigned first = current->index / WARP * WARP;
    if (mask != 0xffffffffu || source >= WARP || first + WARP > count) fail("shuffle of part of a warp, from", source);
    // Two slots in turn: nobody writes one again before all have arrived at the next shuffle, and so have read it.
    unsigned long long* shown = slot[current->shuffles % 2];
    memcpy(&shown[current->index], &value, sizeof value);
    meet(&Fiber::shuffles, first, first + WARP, "shuffle never reached by");
    memcpy(&value, &shown[first + source], sizeof value);
    return value;
}

__attribute__((noinline)) inline void prepare(unsigned index) {
    Fiber& fiber = fibers[index];
    memset(&fiber, 0, sizeof fiber);
    fiber.index = index;
    fiber.thread = {index % block.x, index / block.x % block.y, index / block.x / block.y};
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks[index];
    fiber.context.uc_stack.ss_size = STACK;
    makecontext(&fiber.context, start, 0);
}

// Which of `number` comes as the i-th. order: 0 forwards, 1 backwards, else each round begins somewhere else.
inline unsigned turn(unsigned i, unsigned number, unsigned order, unsigned round) {
    return order == 0 ? i : order == 1 ? number - 1 - i : (i + ((order + round) * 2654435761u >> 8)) % number;
}

// Lets the fibers from..to run until none gets further. False if none did.
inline bool run_warp(unsigned from, unsigned to, unsigned order, unsigned round) {
    bool has_ever_moved = false;
    do {
        has_moved = false;
        for (unsigned i = 0; i < to - from && !*error; ++i) {
            current = &fibers[from + turn(i, to - from, order, round)];
            if (!current->is_done) swapcontext(&scheduler, &current->context);
        }
        has_ever_moved |= has_moved;
    } while (has_moved && !*error);
    return has_ever_moved;
}

// A warp runs as far as it can before the next one starts: a GPU may do so, and nothing shows a missing barrier better.
inline void run_block(unsigned order) {
    memset(__start_gpu_shared, 0xa5, size_t(__stop_gpu_shared - __start_gpu_shared));
    for (unsigned i = 0; i < count; ++i) prepare(i);
    const unsigned warps = (count + WARP - 1) / WARP;
    bool has_any_moved = true;
    for (unsigned round = 0; has_any_moved && !*error; ++round) {
        has_any_moved = false;
        for (unsigned i = 0; i < warps && !*error; ++i) {
            const unsigned from = turn(i, warps, order, round) * WARP;
            has_any_moved |= run_warp(from, from + WARP < count ? from + WARP : count, order, round);
        }
    }
    for (unsigned i = 0; i < count && !*error; ++i)
        if (!fibers[i].is_done) snprintf(error, sizeof error, "threads wait for each other for ever, %u too", i);
}

// Runs a kernel; "" or what it did wrong.
inline const char* run(dim3 grid_size, dim3 block_size, unsigned order, Kernel& what) {
    grid = grid_size, block = block_size, kernel = &what, *error = 0;
    count = block.x * block.y * block.z;
    if (count > MOST_THREADS) return "more than 256 threads in a block";
    const unsigned blocks = grid.x * grid.y * grid.z;
    for (unsigned i = 0; i < blocks && !*error; ++i) {
        const unsigned at = order == 1 ? blocks - 1 - i : i;
        block_index = {at % grid.x, at / grid.x % grid.y, at / grid.x / grid.y};
        run_block(order);
    }
    return error;
}
}  // namespace shim

#define threadIdx (shim::current->thread)
#define blockIdx (shim::block_index)
#define blockDim (shim::block)
#define gridDim (shim::grid)
inline void __syncthreads() { shim::meet(&shim::Fiber::barriers, 0, shim::count, "barrier never reached by"); }
template <class T> T __shfl_xor_sync(unsigned mask, T value, unsigned distance) {
    return shim::exchange(mask, value, shim::current->index % shim::WARP ^ distance);
}
template <class T> T atomicAdd(T* at, T more) {  // fibers do not interrupt each other
    const T before = *at;
    *at += more;
    return before;
}
