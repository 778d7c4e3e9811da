// A small team of threads. All of them run the same function and meet at barriers; work between barriers is dealt out
// a piece at a time, so that a thread whose core is busy elsewhere holds up the others by one piece at most.
//
// Included by files that are compiled for several instruction sets: nothing here may instantiate a shared template.
#pragma once
#include <stdint.h>

#include <atomic>

class Team {
public:
    int size = 1;

    // Called by every thread: body(first, last) on stretches of at most `grain` of 0..count, then a barrier.
    template <class Body> void share(int64_t count, int64_t grain, Body body) {
        for (int64_t first; (first = next.fetch_add(grain, std::memory_order_relaxed)) < count;)
            body(first, first + grain < count ? first + grain : count);
        barrier();
    }
    void barrier();

private:
    alignas(64) std::atomic<int64_t> next{0};
    alignas(64) std::atomic<int> arrived{0};
    alignas(64) std::atomic<uint32_t> round{0};
};

// The pool of this process, held by one caller at a time, with memory that is kept for the next.
class Session {
public:
    // With fewer threads than asked for where the system gives no more. Throws std::bad_alloc.
    Session();
    ~Session();
    int num_threads() const;
    // At least so many bytes, aligned to 64; the bytes of an earlier call are lost. Throws std::bad_alloc.
    uint8_t *memory(int64_t num_bytes);
    // body(team, thread) on all threads, the caller's among them.
    template <class Body> void run(Body body) {
        run([](void *body, Team &team, int thread) { (*(Body *)body)(team, thread); }, &body);
    }

private:
    void run(void (*function)(void *, Team &, int), void *argument);
};

void set_num_threads(int count);
int num_threads();
