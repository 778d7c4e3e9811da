/* The C interface of the kernels. Plain pointers and numbers; everything is row-major and float is 32 bits.
 *
 * A matrix's codes and scales are laid out as `PackedMatrix` in src/qwen7b/kernels/matrix.py says; the structs are
 * mirrored in src/qwen7b/kernels/structures.py. Calls may come from any thread; one runs at a time. */
#pragma once
#include <stdint.h>

#if defined(_WIN32)
#define QWEN7B_API __declspec(dllexport)
#else
#define QWEN7B_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t rows, columns;
    int64_t bits; /* 8 or 4 */
    const uint8_t *codes;
    const uint16_t *scales;
    const int8_t *codebook; /* 16 values with 4 bits, else null */
    const float *bias;      /* `rows` values, or null */
    const uint8_t *repacked; /* what qwen7b_repack() wrote, or null */
} qwen7b_matrix;

typedef struct {
    const float *attention_norm, *feed_forward_norm;
    qwen7b_matrix qkv, output, gate, up, down;
} qwen7b_layer;

typedef struct {
    int64_t num_layers, hidden_size, feed_forward_size, num_heads, num_kv_heads, head_size;
    float norm_epsilon;
    const qwen7b_layer *layers;
} qwen7b_model;

/* Keys and values of a sequence in a layer: blocks of 16 slots, keys (head, block, D, 16), values (head, block, 16, D).
 * int8 codes with a float16 scale per 32 of D (16 where 32 does not divide it), (head, block, D/32, 16) of both. With 16
 * bits the elements are float16 and the pointers behind `values` are null.
 *
 * int8 keys are divided by `balance`, and queries multiplied, before they are rounded. The eight axes `wide_axes` of a
 * head are float16, (head, block, 8, 16), and 0 among the codes. */
typedef struct {
    void *keys, *values;
    uint16_t *key_scales, *value_scales, *wide_keys;
    const float *balance;     /* (head, D) */
    const int32_t *wide_axes; /* (head, 8) */
    int64_t num_slots;        /* position p lies in slot p % num_slots: a multiple of 128, or more than any position */
    int64_t window;           /* a query attends to only this many last positions, itself included; 0 for all */
} qwen7b_cache_layer;

/* A sequence's cache. */
typedef struct {
    int64_t bits; /* 8 or 16 */
    const qwen7b_cache_layer *layers;
} qwen7b_cache;

/* The tokens of one pass. Rows of a sequence are consecutive and so are their positions. */
typedef struct {
    int64_t num_rows;
    const int32_t *sequences; /* of each row: the number of its cache */
    const int32_t *positions; /* of each row in its sequence */
    const float *cosines, *sines;         /* (num_rows, head_size / 2) */
    const float *query_scales;            /* LogN factor of each row, or null */
} qwen7b_rows;

/* What an adapter adds to a product: y += x A^T B^T. With rank 0 nothing. */
typedef struct {
    int64_t rank;
    const float *a; /* (rank, columns) */
    const float *b; /* (blocks of 16 rows, rank, 16) */
} qwen7b_addition;

typedef struct {
    qwen7b_addition qkv, output, gate, up, down;
} qwen7b_layer_additions;

typedef struct {
    int64_t max_rank; /* of all its additions */
    const qwen7b_layer_additions *layers;
} qwen7b_adapter;

/* What the library and its caller must agree on: the interface's version, which is incremented whenever the meaning
 * of something in this file changes, the numbers of kernels/constants.h, and the sizes of the structures above.
 * src/qwen7b/kernels/native.py compares all of it when it loads the library, and refuses a library that differs. */
typedef struct {
    int64_t contract_bytes; /* size of this structure: no more than this may be read */
    int64_t interface_version;
    int64_t group, lanes, chunk, span, max_head_size, num_wide_axes, max_threads;
    int64_t matrix_bytes, layer_bytes, model_bytes, cache_layer_bytes, cache_bytes, rows_bytes;
} qwen7b_contract;

QWEN7B_API const qwen7b_contract *qwen7b_get_contract(void);

/* The name of the index-th instruction set that this processor has and the library was built with, best first; null
 * where there are no more. */
QWEN7B_API const char *qwen7b_available_set(int index);
/* The name of the instruction set in use. */
QWEN7B_API const char *qwen7b_instruction_set(void);
/* Use another instruction set. Returns 0, or -1 if it is not available. */
QWEN7B_API int qwen7b_use_instruction_set(const char *name);

/* Bytes that a matrix takes in the own layout of the instruction set in use; 0 where the set reads the packed layout. */
QWEN7B_API int64_t qwen7b_repacked_bytes(const qwen7b_matrix *matrix);
/* Write this layout to an address that is a multiple of 64, which `matrix->repacked` may name from then on. Codes and
 * scales must stay, as other instruction sets read them. Several calls may run at once. */
QWEN7B_API void qwen7b_repack(const qwen7b_matrix *matrix, uint8_t *repacked);

/* The number of threads that a call runs on; 1 until it is set, and `max_threads` at most. */
QWEN7B_API int qwen7b_num_threads(void);
QWEN7B_API void qwen7b_set_num_threads(int count);

/* These return 0, or -1 where there is not enough memory for their scratch space.
 * y (num_rows, matrix.rows) = x (num_rows, matrix.columns) times the matrix, transposed, plus its bias. */
QWEN7B_API int qwen7b_linear(const qwen7b_matrix *matrix, const float *x, int64_t num_rows, float *y);
/* Layers `first` up to `last` over x (num_rows, hidden_size), in place; adds the rows to their sequences' caches. */
QWEN7B_API int qwen7b_run_layers(const qwen7b_model *model, const qwen7b_cache *const *caches, const qwen7b_rows *rows,
                                 int64_t first, int64_t last, float *x);
/* The same where rows have adapters: `adapters` has each row's, or null. The other rows become what they are without. */
QWEN7B_API int qwen7b_run_adapted_layers(const qwen7b_model *model, const qwen7b_cache *const *caches,
                                         const qwen7b_rows *rows, const qwen7b_adapter *const *adapters, int64_t first,
                                         int64_t last, float *x);

/* Training: what lies between the products of a step, forward and backward, in as few passes over memory as there can be.
 * An array is contiguous, of float (32 bits) or bfloat16 (16); a null pointer leaves it out. */
typedef struct {
    void *values;
    int64_t bits;
} qwen7b_array;

/* sum (num_rows, size) = x + added, and y = sum / rms(sum) * weight; without `added` the sum is x. Keeps 1 / rms. */
QWEN7B_API int qwen7b_add_and_normalize(int64_t num_rows, int64_t size, float epsilon, qwen7b_array x, qwen7b_array added,
                                        qwen7b_array sum, const float *weight, qwen7b_array y, float *inverse_rms);
/* The gradients of x, of `added` (the same numbers) and of `weight`, from those of y and of the sum. All but those of x
 * and of y may be null. */
QWEN7B_API int qwen7b_add_and_normalize_backward(int64_t num_rows, int64_t size, qwen7b_array sum, const float *weight,
                                                 const float *inverse_rms, qwen7b_array for_y, qwen7b_array for_sum,
                                                 qwen7b_array for_x, qwen7b_array for_added, float *for_weight);
/* The pairs (i, i + head_size/2) of each head turned by their row's angle, or against it with `turn` = -1. Tables are
 * (num_rows, head_size), null to copy. A head is contiguous; rows, and the heads of a row, are so many numbers apart. */
QWEN7B_API int qwen7b_rotate_heads(int64_t num_rows, int64_t num_heads, int64_t head_size, const float *cosines,
                                   const float *sines, float turn, qwen7b_array x, int64_t x_row, int64_t x_head,
                                   qwen7b_array y, int64_t y_row, int64_t y_head);
/* y = up * silu(gate), and the gradients of both. */
QWEN7B_API int qwen7b_gate(int64_t count, qwen7b_array gate, qwen7b_array up, qwen7b_array y);
QWEN7B_API int qwen7b_gate_backward(int64_t count, qwen7b_array gate, qwen7b_array up, qwen7b_array for_y,
                                    qwen7b_array for_gate, qwen7b_array for_up);
/* The probabilities y (num_rows, columns) of scores times `scale`, where row r sees the first 1 + r % columns; and in place
 * of the gradients of y, those of the scores. */
QWEN7B_API int qwen7b_causal_softmax(int64_t num_rows, int64_t columns, float scale, qwen7b_array scores, qwen7b_array y);
QWEN7B_API int qwen7b_causal_softmax_backward(int64_t num_rows, int64_t columns, float scale, qwen7b_array y,
                                              qwen7b_array gradients);
/* -ln p of each row's target under its logits (num_rows, columns), which are replaced by their gradients. */
QWEN7B_API int qwen7b_cross_entropy(int64_t num_rows, int64_t columns, qwen7b_array logits, const int64_t *targets,
                                    float *losses);

/* The machine's limits, with the threads and the instruction set in use: bytes/s read from memory, int8 op/s. */
QWEN7B_API double qwen7b_measure_read(const void *data, int64_t num_bytes);
QWEN7B_API double qwen7b_measure_int8(int64_t iterations);

#ifdef __cplusplus
}
#endif
