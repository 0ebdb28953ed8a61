/* The ready ring: order, growth at every position of its head, and failing allocation. */
#include "base/ring.h"

#include "check.h"

static void
words_come_out_in_the_order_they_went_in(void)
{
    fl_ring ring;
    CHECK(fl_ring_init(&ring) == 0);
    CHECK(fl_ring_len(&ring) == 0);
    for (uintptr_t word = 0; word < 1000; word++) {
        CHECK(fl_ring_push(&ring, word) == 0);
        CHECK(fl_ring_len(&ring) == word + 1);
    }
    for (uintptr_t word = 0; word < 1000; word++) {
        CHECK(fl_ring_at(&ring, 0) == word);
        CHECK(fl_ring_pop(&ring) == word);
    }
    CHECK(fl_ring_len(&ring) == 0);
    fl_ring_free(&ring);
}

static void
fill(fl_ring *ring, uintptr_t *next)
{
    while (fl_ring_len(ring) <= ring->mask) {
        CHECK(fl_ring_push(ring, (*next)++) == 0);
    }
}

/* A full ring whose oldest word lies at `head` grows and keeps its order. */
static void
grows_with_its_head_at(size_t head)
{
    fl_ring ring;
    CHECK(fl_ring_init(&ring) == 0);
    uintptr_t next = 0, expected = 0;
    fill(&ring, &next);
    for (size_t i = 0; i < head; i++) {
        CHECK(fl_ring_pop(&ring) == expected++);
        CHECK(fl_ring_push(&ring, next++) == 0);
    }
    size_t capacity = ring.mask + 1;
    CHECK(fl_ring_len(&ring) == capacity);
    CHECK(fl_ring_push(&ring, next++) == 0);
    CHECK(ring.mask + 1 == 2 * capacity);
    for (size_t i = 0; i < fl_ring_len(&ring); i++) {
        CHECK(fl_ring_at(&ring, i) == expected + i);
    }
    while (fl_ring_len(&ring) > 0) {
        CHECK(fl_ring_pop(&ring) == expected++);
    }
    CHECK(expected == next);
    fl_ring_free(&ring);
}

static void
does_not_grow_while_there_is_room(void)
{
    fl_ring ring;
    CHECK(fl_ring_init(&ring) == 0);
    uintptr_t next = 0, expected = 0;
    fill(&ring, &next);
    size_t mask = ring.mask;
    for (int i = 0; i < 10000; i++) {
        CHECK(fl_ring_pop(&ring) == expected++);
        CHECK(fl_ring_push(&ring, next++) == 0);
    }
    CHECK(ring.mask == mask);
    fl_ring_free(&ring);
}

/* head and tail only ever grow: their wrap at the end of size_t must not show. */
static void
survives_the_wrap_of_its_indices(void)
{
    fl_ring ring;
    CHECK(fl_ring_init(&ring) == 0);
    ring.head = ring.tail = SIZE_MAX - ring.mask / 2;
    uintptr_t next = 0, expected = 0;
    for (int i = 0; i < 3; i++) {
        fill(&ring, &next);
        CHECK(fl_ring_len(&ring) == ring.mask + 1);
        CHECK(fl_ring_at(&ring, ring.mask) == next - 1);
        while (fl_ring_len(&ring) > 0) {
            CHECK(fl_ring_pop(&ring) == expected++);
        }
    }
    ring.head = ring.tail = SIZE_MAX - ring.mask / 2;
    fill(&ring, &next);
    CHECK(fl_ring_push(&ring, next++) == 0); /* grows across the wrap */
    while (fl_ring_len(&ring) > 0) {
        CHECK(fl_ring_pop(&ring) == expected++);
    }
    fl_ring_free(&ring);
}

static void
random_work_keeps_the_order(void)
{
    fl_ring ring;
    CHECK(fl_ring_init(&ring) == 0);
    uintptr_t next = 0, expected = 0;
    for (int i = 0; i < 100000; i++) {
        /* Phases of mostly pushing and of mostly popping. */
        bool push = random_below(100) < (i / 500 % 2 ? 30u : 70u);
        if (push) {
            CHECK(fl_ring_push(&ring, next++) == 0);
        }
        else if (fl_ring_len(&ring) > 0) {
            size_t position = random_below(fl_ring_len(&ring));
            CHECK(fl_ring_at(&ring, position) == expected + position);
            CHECK(fl_ring_pop(&ring) == expected++);
        }
        CHECK(fl_ring_len(&ring) == next - expected);
    }
    fl_ring_free(&ring);
}

static void
failed_growth_changes_nothing(void)
{
    fl_ring ring;
    out_of_memory = true;
    CHECK(fl_ring_init(&ring) == -ENOMEM);
    out_of_memory = false;
    CHECK(fl_ring_init(&ring) == 0);
    uintptr_t next = 0, expected = 0;
    fill(&ring, &next);
    out_of_memory = true;
    CHECK(fl_ring_push(&ring, next) == -ENOMEM);
    CHECK(fl_ring_push(&ring, next) == -ENOMEM);
    CHECK(fl_ring_len(&ring) == next);
    out_of_memory = false;
    CHECK(fl_ring_push(&ring, next++) == 0);
    while (fl_ring_len(&ring) > 0) {
        CHECK(fl_ring_pop(&ring) == expected++);
    }
    CHECK(expected == next);
    fl_ring_free(&ring);
}

int
main(void)
{
    words_come_out_in_the_order_they_went_in();
    for (size_t head = 0; head < 2 * FL_RING_INITIAL; head++) {
        grows_with_its_head_at(head);
    }
    does_not_grow_while_there_is_room();
    survives_the_wrap_of_its_indices();
    random_work_keeps_the_order();
    failed_growth_changes_nothing();
    return 0;
}
