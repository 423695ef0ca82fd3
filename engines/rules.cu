// The two fusion rules of JCAE (arXiv 2201.10736, Eq. 8 and 9) and the 8-bit ends of the network, on the device.
// engines/rules.py is the reference; engines/launches.py says what each argument must be; engines/kernels.py compiles.
//
// Features are (N, h, w, MAPS) fp16: a lane moves 8 maps in 16 bytes, LANES lanes hold all maps of one position.
// No header is included, so that nvcc, NVRTC and, behind tests/engines/cuda/shim.h, g++ compile this file as it is.
// Build with -fmad=false: every product and sum is then rounded as numpy rounds it. The kernels wait for memory
// (0.6 operations a byte), so the multiply-adds lost cost nothing.
#if !defined(MAPS) || !defined(THREADS)
#error "give -DMAPS= and -DTHREADS=, as engines/kernels.py does"
#endif

#define LANES (MAPS / 8)             // that share one position
#define POSITIONS (THREADS / LANES)  // that a block of a feature kernel holds at a time
#define LOADS 4                      // reads of crotalus_count in flight before the first is used
#define ALL_LANES 0xffffffffu

static_assert(MAPS % 8 == 0 && LANES <= 32 && 32 % LANES == 0, "MAPS must be 8, 16, 32, 64, 128 or 256");
static_assert(THREADS % 32 == 0, "blocks are made of whole warps");

#ifdef __CUDACC__  // the shim brings its own two
static __device__ __forceinline__ float from_half(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

static __device__ __forceinline__ unsigned short to_half(float value) {  // nearest, ties to even
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#endif

struct Maps { float of[8]; };  // what one lane holds of a position

static __device__ __forceinline__ Maps unpack(uint4 packed) {
    const unsigned word[4] = {packed.x, packed.y, packed.z, packed.w};
    Maps maps;
#pragma unroll
    for (int k = 0; k < 8; ++k) maps.of[k] = from_half((unsigned short)(word[k / 2] >> (k % 2 * 16)));
    return maps;
}

static __device__ __forceinline__ uint4 pack(const Maps& maps) {
    unsigned word[4];
#pragma unroll
    for (int k = 0; k < 4; ++k)
        word[k] = (unsigned)to_half(maps.of[2 * k]) | (unsigned)to_half(maps.of[2 * k + 1]) << 16;
    return make_uint4(word[0], word[1], word[2], word[3]);
}

// One more for each map that is not zero; the sign bit is masked, as -0 is zero.
static __device__ __forceinline__ void count_nonzero(uint4 packed, unsigned (&found)[8]) {
    const unsigned word[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
    for (int k = 0; k < 8; ++k) found[k] += (word[k / 2] >> (k % 2 * 16) & 0x7fffu) != 0u;
}

// Eq. 9, L: adds the nonzero positions of each map to counts (N, 2, MAPS), infrared first. Counts start at 0.
// Grid (any, N, 2): blocks of x share the positions of picture y of stack z.
extern "C" __global__ void __launch_bounds__(THREADS)
crotalus_count(const uint4* __restrict__ common_ir, const uint4* __restrict__ common_vis,
               unsigned* __restrict__ counts, unsigned area) {
    __shared__ unsigned of_block[MAPS];
    const unsigned lane = threadIdx.x % LANES, step = gridDim.x * POSITIONS;
    const uint4* picture = (blockIdx.z ? common_vis : common_ir) + (size_t)blockIdx.y * area * LANES;
    unsigned found[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (unsigned i = threadIdx.x; i < MAPS; i += THREADS) of_block[i] = 0;
    for (unsigned first = blockIdx.x * POSITIONS + threadIdx.x / LANES; first < area; first += step * LOADS) {
        uint4 loaded[LOADS];
#pragma unroll
        for (int k = 0; k < LOADS; ++k) {
            const unsigned position = first + k * step;
            loaded[k] = position < area ? picture[(size_t)position * LANES + lane] : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
        for (int k = 0; k < LOADS; ++k) count_nonzero(loaded[k], found);
    }
#pragma unroll
    for (int distance = LANES; distance < 32; distance *= 2)  // lanes of a warp that hold the same maps
#pragma unroll
        for (int k = 0; k < 8; ++k) found[k] += __shfl_xor_sync(ALL_LANES, found[k], distance);
    __syncthreads();  // of_block is clear
    if (threadIdx.x % 32 < LANES)
#pragma unroll
        for (int k = 0; k < 8; ++k) atomicAdd(&of_block[lane * 8 + k], found[k]);
    __syncthreads();  // of_block is complete
    unsigned* total = counts + ((size_t)blockIdx.y * 2 + blockIdx.z) * MAPS;
    for (unsigned i = threadIdx.x; i < MAPS; i += THREADS) atomicAdd(&total[i], of_block[i]);
}

// Eq. 9, T: which maps both pictures hold often enough to be averaged, (N, MAPS) of 0 or 1. Clears the counts.
// before: the rule of each map in the pair before, 0, 1 or 2 for none; null for single pictures. May be `averaged`.
// Grid (N), block (MAPS).
extern "C" __global__ void crotalus_decide(unsigned* counts, const unsigned char* before, unsigned char* averaged,
                                           unsigned area, float at_start, float if_averaged, float if_not) {
    unsigned* ir = counts + (size_t)blockIdx.x * 2 * MAPS + threadIdx.x;
    unsigned* vis = ir + MAPS;
    const size_t map = (size_t)blockIdx.x * MAPS + threadIdx.x;
    const unsigned rule = before ? before[map] : 2u;
    const float threshold = rule == 0u ? if_not : rule == 1u ? if_averaged : at_start;
    const float activity = (float)(*ir < *vis ? *ir : *vis) / (float)area;  // rounded once: 60 of 100 is 0.6
    averaged[map] = activity >= threshold;
    *ir = *vis = 0;  // for the next pair
}

// Eq. 8 and 9 in one pass: private and common stacks of both pictures -> the fused stacks. Sums are fp32.
// A fused stack may overwrite one of its sources: no lane reads what another writes, save idle ones, and these drop it.
// Grid (any, N): blocks of x share the positions of picture y.
extern "C" __global__ void __launch_bounds__(THREADS)
crotalus_fuse(const uint4* private_ir, const uint4* private_vis, const uint4* common_ir, const uint4* common_vis,
              const uint2* __restrict__ averaged, uint4* private_out, uint4* common_out, unsigned area) {
    const unsigned lane = threadIdx.x % LANES, own = threadIdx.x / LANES;
    const uint2 rule = averaged[(size_t)blockIdx.y * LANES + lane];  // 8 bytes, one for each map of this lane
    const size_t picture = (size_t)blockIdx.y * area * LANES;
    // The loop ends for whole blocks: every lane of a warp must reach the shuffles.
    for (unsigned first = blockIdx.x * POSITIONS; first < area; first += gridDim.x * POSITIONS) {
        const unsigned position = first + own;
        const bool is_inside = position < area;
        const size_t at = picture + (size_t)(is_inside ? position : area - 1) * LANES + lane;
        const Maps a = unpack(common_ir[at]), b = unpack(common_vis[at]);
        const Maps p = unpack(private_ir[at]), q = unpack(private_vis[at]);
        float sum_ir = 0.0f, sum_vis = 0.0f;  // C_A, C_B
#pragma unroll
        for (int k = 0; k < 8; ++k) sum_ir += a.of[k], sum_vis += b.of[k];
#pragma unroll
        for (int distance = LANES / 2; distance; distance /= 2) {
            sum_ir += __shfl_xor_sync(ALL_LANES, sum_ir, distance);
            sum_vis += __shfl_xor_sync(ALL_LANES, sum_vis, distance);
        }
        const float total = sum_ir + sum_vis;
        const float share = total > 0.0f ? sum_ir / total : 0.5f;  // w1
        Maps common, fused;
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            const bool is_averaged = ((k < 4 ? rule.x : rule.y) >> (k % 4 * 8) & 1u) != 0u;
            const float average = share * a.of[k] + (1.0f - share) * b.of[k];
            common.of[k] = is_averaged ? average : fmaxf(a.of[k], b.of[k]);
            fused.of[k] = fmaxf(p.of[k], q.of[k]);
        }
        if (is_inside) {
            common_out[at] = pack(common);
            private_out[at] = pack(fused);
        }
    }
}

// Index into 0..length-1 of a position mirrored at both ends, the ends themselves not repeated, as often as needed.
static __device__ __forceinline__ int reflect(int position, int length) {
    if (length == 1) return 0;
    const int period = 2 * (length - 1), folded = (position < 0 ? -position : position) % period;
    return folded < period - folded ? folded : period - folded;
}

// What a stored byte stands for. table: 256 bytes, or null where it stands for itself.
static __device__ __forceinline__ unsigned char through(const unsigned char* table, unsigned char stored) {
    return table ? table[stored] : stored;
}

// Between four pixels; outside, the border goes on. Not-a-number reads column or row 0.
static __device__ __forceinline__ float sample(const unsigned char* luma, unsigned pitch, int height, int width,
                                               const unsigned char* table, float2 at) {
    const float x = fminf(fmaxf(at.x, 0.0f), (float)(width - 1)), y = fminf(fmaxf(at.y, 0.0f), (float)(height - 1));
    const int left = (int)x, top = (int)y;
    const int right = left + 1 < width ? left + 1 : left, bottom = top + 1 < height ? top + 1 : top;
    const unsigned char *upper = luma + (size_t)top * pitch, *lower = luma + (size_t)bottom * pitch;
    const float along = x - (float)left, down = y - (float)top;
    const float upper_left = (float)through(table, upper[left]), upper_right = (float)through(table, upper[right]);
    const float lower_left = (float)through(table, lower[left]), lower_right = (float)through(table, lower[right]);
    const float above = upper_left + along * (upper_right - upper_left);
    const float below = lower_left + along * (lower_right - lower_left);
    return above + down * (below - above);
}

// 8-bit luma -> fp16 in 0..1, (N, rows, columns), with `margin` mirrored around the height x width picture and more
// at its end up to rows x columns. Rows of luma lie `pitch` bytes apart, pictures `stride`.
// warp: null, or for each pixel of the picture where in luma it lies, (x, y) in px; luma may then have another size.
// table: null, or what each of the 256 levels of luma stands for (limited range), looked up before anything else.
// Blocks of 2 dimensions tile the output, grid z is N.
extern "C" __global__ void __launch_bounds__(THREADS)
crotalus_to_unit(const unsigned char* __restrict__ luma, unsigned long long stride, unsigned pitch, int luma_height,
                 int luma_width, const float2* __restrict__ warp, const unsigned char* __restrict__ table,
                 unsigned short* __restrict__ unit, int height, int width, int margin, int rows, int columns) {
    const int column = (int)(blockIdx.x * blockDim.x + threadIdx.x), row = (int)(blockIdx.y * blockDim.y + threadIdx.y);
    if (column >= columns || row >= rows) return;
    const int x = reflect(column - margin, width), y = reflect(row - margin, height);
    const unsigned char* picture = luma + blockIdx.z * stride;
    const float level = warp ? sample(picture, pitch, luma_height, luma_width, table, warp[(size_t)y * width + x])
                             : (float)through(table, picture[(size_t)y * pitch + x]);
    unit[((size_t)blockIdx.z * rows + row) * columns + column] = to_half(level / 255.0f);
}

// Luma in 0..1, rounded half to even and clipped. Not-a-number is black.
static __device__ __forceinline__ unsigned char to_byte(float unit) {
    return (unsigned char)fminf(fmaxf(rintf(unit * 255.0f), 0.0f), 255.0f);
}

static __device__ __forceinline__ float value_of(float unit) { return unit; }
static __device__ __forceinline__ float value_of(unsigned short unit) { return from_half(unit); }

template <class Unit>
static __device__ __forceinline__ void store_bytes(const Unit* unit, int rows, int columns, unsigned char* luma,
                                                   unsigned long long stride, unsigned pitch, int height, int width,
                                                   const unsigned char* table) {
    const int x = (int)(blockIdx.x * blockDim.x + threadIdx.x), y = (int)(blockIdx.y * blockDim.y + threadIdx.y);
    if (x >= width || y >= height) return;
    const float value = value_of(unit[((size_t)blockIdx.z * rows + y) * columns + x]);
    luma[blockIdx.z * stride + (size_t)y * pitch + x] = through(table, to_byte(value));
}

// Luma (N, rows, columns) in 0..1 -> 8 bits, cropped to height x width, rows `pitch` bytes apart, pictures `stride`.
// table: null, or the byte to store for each of the 256 levels (limited range).
// Blocks of 2 dimensions tile the picture, grid z is N.
extern "C" __global__ void __launch_bounds__(THREADS)
crotalus_half_to_bytes(const unsigned short* __restrict__ unit, int rows, int columns, unsigned char* __restrict__ luma,
                       unsigned long long stride, unsigned pitch, int height, int width,
                       const unsigned char* __restrict__ table) {
    store_bytes(unit, rows, columns, luma, stride, pitch, height, width, table);
}

extern "C" __global__ void __launch_bounds__(THREADS)
crotalus_float_to_bytes(const float* __restrict__ unit, int rows, int columns, unsigned char* __restrict__ luma,
                        unsigned long long stride, unsigned pitch, int height, int width,
                       const unsigned char* __restrict__ table) {
    store_bytes(unit, rows, columns, luma, stride, pitch, height, width, table);
}

// A plane as it is, from one pitch to another: chroma. Blocks of 2 dimensions tile it.
extern "C" __global__ void __launch_bounds__(THREADS)
crotalus_copy(const unsigned char* __restrict__ source, unsigned source_pitch, unsigned char* __restrict__ target,
              unsigned target_pitch, int height, int width) {
    const int x = (int)(blockIdx.x * blockDim.x + threadIdx.x), y = (int)(blockIdx.y * blockDim.y + threadIdx.y);
    if (x < width && y < height) target[(size_t)y * target_pitch + x] = source[(size_t)y * source_pitch + x];
}
