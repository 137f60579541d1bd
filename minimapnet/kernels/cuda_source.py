"""The CUDA source of `cupy_kernels.py`: one text for both floating types, compiled with -DREAL=float or -DREAL=double.

Wherever a kernel works on rows, one block of threads takes one row: thread i of n the columns i, i + n, i + 2n, ..., so
that neighbouring threads read neighbouring numbers, and a row may be wider than its block. Blocks are whole warps, of 32
threads. Sizes and places are of 64 bits; what arrives as double is made `real` once. Sums are added up in an order that
depends on the shapes alone, never by atomics, so that results repeat to the last bit.
"""

SOURCE = r"""
typedef REAL real;
typedef long long int64;

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffff;
constexpr int MOST_WARPS = 32;  // of a block, since a block has at most 1024 threads

struct Add {
    static __device__ real of(real a, real b) { return a + b; }
    static __device__ real nothing() { return 0; }
};

struct Larger {
    static __device__ real of(real a, real b) { return a > b ? a : b; }
    static __device__ real nothing() { return real(sizeof(real) == 4 ? -3.4e38 : -1.7e308); }  // below any logit
};

// Combine `value` over the 32 threads of a warp; each of them gets the result. After the step by 16 two lanes share a sum,
// after the step by 8 four of them, and so on.
template <class Op> __device__ real over_warp(real value) {
    for (int step = WARP / 2; step > 0; step /= 2) value = Op::of(value, __shfl_xor_sync(ALL_LANES, value, step));
    return value;
}

// Combine `value` over all the threads of a block; each of them gets the result. Every thread must come here.
template <class Op> __device__ real over_block(real value) {
    __shared__ real of_warp[MOST_WARPS];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    value = over_warp<Op>(value);
    __syncthreads();  // what an earlier call left in of_warp has been read by all
    if (lane == 0) of_warp[warp] = value;
    __syncthreads();  // of_warp is complete
    return over_warp<Op>(lane < warps ? of_warp[lane] : Op::nothing());  // by each warp for itself
}

// ---- GELU: y = x Phi(x), slope = Phi(x) + x Phi'(x). Any number of threads; each strides through the array.

constexpr real HALF = 0.5;
constexpr real SQRT_HALF = 0.70710678118654752440;
constexpr real NORMAL_DENSITY = 0.39894228040143267794;  // at 0: 1 / sqrt(2 pi)
constexpr real TANH_LINEAR = 0.79788456080286535588;     // sqrt(2 / pi)
constexpr real TANH_CUBIC = 0.044715 * 0.79788456080286535588;

__device__ int64 first_place() { return int64(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ int64 all_threads() { return int64(gridDim.x) * blockDim.x; }

extern "C" __global__ void gelu_erf(const real* x, real* y, real* slope, int64 size) {
    for (int64 i = first_place(); i < size; i += all_threads()) {
        const real phi = HALF * (1 + erf(SQRT_HALF * x[i]));
        const real density = NORMAL_DENSITY * exp(-HALF * x[i] * x[i]);
        slope[i] = phi + x[i] * density;
        y[i] = x[i] * phi;
    }
}

extern "C" __global__ void gelu_tanh(const real* x, real* y, real* slope, int64 size) {
    for (int64 i = first_place(); i < size; i += all_threads()) {
        const real square = x[i] * x[i];
        const real phi = HALF * (1 + tanh(x[i] * (TANH_LINEAR + TANH_CUBIC * square)));
        const real density = 2 * phi * (1 - phi) * (TANH_LINEAR + 3 * TANH_CUBIC * square);
        slope[i] = phi + x[i] * density;
        y[i] = x[i] * phi;
    }
}

extern "C" __global__ void relu(const real* x, real* y, real* slope, int64 size) {
    for (int64 i = first_place(); i < size; i += all_threads()) {
        y[i] = x[i] <= 0 ? real(0) : x[i];  // NaN stays NaN
        slope[i] = x[i] > 0 ? real(1) : real(0);
    }
}

// ---- LayerNorm: a block a row.

extern "C" __global__ void layernorm_forward(const real* x, const real* weight, const real* bias, real* y, real* xhat,
                                             real* rstd, int64 width, double eps) {
    const int64 row = blockIdx.x;
    x += row * width, y += row * width, xhat += row * width;
    real sum = 0, squares = 0;
    for (int64 c = threadIdx.x; c < width; c += blockDim.x) sum += x[c];
    const real mean = over_block<Add>(sum) / width;
    for (int64 c = threadIdx.x; c < width; c += blockDim.x) squares += (x[c] - mean) * (x[c] - mean);
    const real scale = 1 / sqrt(over_block<Add>(squares) / width + real(eps));
    for (int64 c = threadIdx.x; c < width; c += blockDim.x) {
        const real normal = (x[c] - mean) * scale;
        xhat[c] = normal;
        y[c] = normal * weight[c] + bias[c];
    }
    if (threadIdx.x == 0) rstd[row] = scale;
}

// Row r of dy belongs to row r modulo saved_rows of what the forward saved, which may be one sentence for many dy.
extern "C" __global__ void layernorm_backward(const real* dy, const real* xhat, const real* rstd, const real* weight,
                                              real* dx, int64 saved_rows, int64 width) {
    const int64 row = blockIdx.x, saved = row % saved_rows;
    dy += row * width, dx += row * width, xhat += saved * width;
    real sum = 0, along = 0;
    for (int64 c = threadIdx.x; c < width; c += blockDim.x) {
        const real dxhat = dy[c] * weight[c];
        sum += dxhat;
        along += dxhat * xhat[c];
    }
    const real mean = over_block<Add>(sum) / width, mean_along = over_block<Add>(along) / width;
    for (int64 c = threadIdx.x; c < width; c += blockDim.x)
        dx[c] = rstd[saved] * (dy[c] * weight[c] - mean - xhat[c] * mean_along);
}

// ---- Softmax: a block a row, in place. A thread only ever writes the columns that it alone reads.

struct Total {
    real maximum, sum;  // of a row, and of exp(value - maximum) over it
};

// Both in one pass: where a larger value turns up, what was added so far is scaled down. Milakov and Gimelshein 2018,
// arXiv 1805.02867.
template <class Row> __device__ Total total_of(Row value_at, int64 width) {
    Total mine = {Larger::nothing(), 0};
    for (int64 c = threadIdx.x; c < width; c += blockDim.x) {
        const real value = value_at(c);
        if (value > mine.maximum) {
            mine.sum *= exp(mine.maximum - value);
            mine.maximum = value;
        }
        mine.sum += exp(value - mine.maximum);
    }
    const real maximum = over_block<Larger>(mine.maximum);
    return {maximum, over_block<Add>(mine.sum * exp(mine.maximum - maximum))};
}

// bias has a row for each sentence, or is null.
extern "C" __global__ void softmax_forward(real* scores, const real* bias, int64 rows_of_sentence, int64 width,
                                           double scale) {
    const int64 row = blockIdx.x;
    scores += row * width;
    if (bias) bias += row / rows_of_sentence * width;
    const real factor = scale;
    auto value_at = [=](int64 c) { return factor * scores[c] + (bias ? bias[c] : real(0)); };
    const Total total = total_of(value_at, width);
    for (int64 c = threadIdx.x; c < width; c += blockDim.x) scores[c] = exp(value_at(c) - total.maximum) / total.sum;
}

extern "C" __global__ void softmax_backward(real* dprobs, const real* probs, int64 saved_rows, int64 width, double scale) {
    const int64 row = blockIdx.x;
    dprobs += row * width, probs += row % saved_rows * width;
    real along = 0;
    for (int64 c = threadIdx.x; c < width; c += blockDim.x) along += dprobs[c] * probs[c];
    along = over_block<Add>(along);
    for (int64 c = threadIdx.x; c < width; c += blockDim.x) dprobs[c] = real(scale) * probs[c] * (dprobs[c] - along);
}

extern "C" __global__ void softmax_cross_entropy(real* logits, const int64* targets, real* losses, int64 width) {
    const int64 row = blockIdx.x, target = targets[row];
    logits += row * width;
    const real at_target = logits[target];  // read by all before any writes: total_of makes the threads wait for each other
    const Total total = total_of([=](int64 c) { return logits[c]; }, width);
    real share = 0;  // of all the others, which is 1 - p without the rounding of p to 1 where a guess is all but certain
    for (int64 c = threadIdx.x; c < width; c += blockDim.x) {
        logits[c] = exp(logits[c] - total.maximum) / total.sum;
        if (c != target) share += logits[c];
    }
    share = over_block<Add>(share);  // after which every thread has written
    if (threadIdx.x > 0) return;
    logits[target] = -share;
    losses[row] = at_target == total.maximum ? log1p(share * total.sum) : log(total.sum) - (at_target - total.maximum);
}

// ---- Embedding gradient. `order` sorts the ids, so that equal ids lie side by side; block (n, tile) starts at the n-th of
// them in that order, and has work only where that is an id's first. Its 32 x 16 threads take 32 channels: thread row k adds
// up occurrences k, k + 16, ... of the id, and thread row 0 adds up the 16 sums.

constexpr int TILE = 32, STRANDS = 16;

extern "C" __global__ void embedding_gradient(const int64* ids, const int64* order, const real* d, real* out, int64 count,
                                              int64 width) {
    __shared__ real strands[STRANDS][TILE];
    const int64 first = blockIdx.x, id = ids[order[first]];
    if (first > 0 && ids[order[first - 1]] == id) return;  // the whole block leaves
    const int64 channel = int64(blockIdx.y) * TILE + threadIdx.x;
    real sum = 0;
    if (channel < width)
        for (int64 n = first + threadIdx.y; n < count && ids[order[n]] == id; n += STRANDS)
            sum += d[order[n] * width + channel];
    strands[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();  // all the strands are there
    if (threadIdx.y > 0 || channel >= width) return;
    for (int k = 1; k < STRANDS; k++) sum += strands[k][threadIdx.x];
    out[id * width + channel] += sum;
}

// ---- AdamW, as PyTorch computes it. `keep` is 1 - lr * weight_decay, for the first `decayed` values; the corrections are
// those of the mean (within step_size) and of the root of the square.

extern "C" __global__ void adamw_step(real* params, const real* grads, real* mean, real* square, int64 size, int64 decayed,
                                      double keep, double beta1, double beta2, double step_size, double correction,
                                      double eps) {
    const real old1 = beta1, new1 = 1 - beta1, old2 = beta2, new2 = 1 - beta2;
    for (int64 i = first_place(); i < size; i += all_threads()) {
        const real g = grads[i];
        const real m = mean[i] = old1 * mean[i] + new1 * g;
        const real v = square[i] = old2 * square[i] + new2 * g * g;
        const real p = i < decayed ? real(keep) * params[i] : params[i];
        params[i] = p - real(step_size) * m / (sqrt(v) / real(correction) + real(eps));
    }
}
"""
