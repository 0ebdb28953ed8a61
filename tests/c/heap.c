/* The heap of deadlines against a sorted array, and failing allocation. */
#include "base/heap.h"

#include <math.h>
#include <string.h>

#include "check.h"

#define MOST 2000 /* entries in the model */

/* An item: its deadline, its place in the order of arrival, and whether it has been cancelled. */
typedef struct {
    double when;
    size_t arrival;
    bool cancelled;
} timer;

/* The model holds the timers in the order in which they must come out. */
typedef struct {
    timer *timers[MOST];
    size_t len;
} model;

static void
model_insert(model *model, timer *timer)
{
    size_t i = model->len++;
    for (; i > 0 && model->timers[i - 1]->when > timer->when; i--) {
        model->timers[i] = model->timers[i - 1];
    }
    model->timers[i] = timer;
}

static timer *
model_pop(model *model)
{
    timer *first = model->timers[0];
    memmove(model->timers, model->timers + 1, --model->len * sizeof(*model->timers));
    return first;
}

static bool
is_wanted(void *item)
{
    return !((timer *)item)->cancelled;
}

static int
by_arrival(const void *a, const void *b)
{
    size_t left = (*(timer *const *)a)->arrival, right = (*(timer *const *)b)->arrival;
    return (left > right) - (left < right);
}

/* Filter both and see that the same timers went. */
static void
filter_both(fl_heap *heap, model *model)
{
    timer *gone[MOST], *expected[MOST];
    size_t kept = 0, count = 0;
    for (size_t i = 0; i < model->len; i++) {
        if (model->timers[i]->cancelled) {
            expected[count++] = model->timers[i];
        }
        else {
            model->timers[kept++] = model->timers[i];
        }
    }
    model->len = kept;
    CHECK(fl_heap_filter(heap, is_wanted, (void **)gone) == count);
    CHECK(heap->len == kept);
    qsort(gone, count, sizeof(*gone), by_arrival);
    qsort(expected, count, sizeof(*expected), by_arrival);
    for (size_t i = 0; i < count; i++) {
        CHECK(gone[i] == expected[i]);
        free(gone[i]);
    }
}

static void
pop_both(fl_heap *heap, model *model)
{
    timer *expected = model_pop(model);
    const fl_deadline *top = fl_heap_top(heap);
    CHECK(top->when == expected->when && top->item == expected);
    CHECK(fl_heap_pop(heap) == expected);
    free(expected);
}

static double
random_deadline(size_t kinds)
{
    size_t n = random_below(kinds);
    return n == 0 ? -INFINITY : n == 1 ? INFINITY : n == 2 ? -0.0 : (double)n - 3;
}

/* `kinds`: from how many deadlines to choose; few make many equal ones. */
static void
behaves_like_a_sorted_array(size_t kinds, size_t cancel_percent)
{
    static model model;
    model.len = 0;
    fl_heap heap;
    fl_heap_init(&heap);
    size_t arrivals = 0;
    for (int i = 0; i < 20000; i++) {
        size_t choice = random_below(100);
        if (choice < (i / 1000 % 2 ? 35u : 60u) && model.len < MOST) {
            timer *new = malloc(sizeof(*new));
            *new = (timer){random_deadline(kinds), arrivals++, random_below(100) < cancel_percent};
            CHECK(fl_heap_push(&heap, new->when, new) == 0);
            model_insert(&model, new);
        }
        else if (choice < 99 && model.len > 0) {
            pop_both(&heap, &model);
        }
        else if (choice == 99) {
            filter_both(&heap, &model);
        }
        CHECK(heap.len == model.len);
    }
    while (model.len > 0) {
        pop_both(&heap, &model);
    }
    CHECK(fl_heap_top(&heap) == NULL);
    fl_heap_free(&heap);
}

static void
equal_deadlines_come_out_in_the_order_they_went_in(void)
{
    int items[500];
    fl_heap heap;
    fl_heap_init(&heap);
    for (int i = 0; i < 500; i++) {
        CHECK(fl_heap_push(&heap, 1.5, &items[i]) == 0);
    }
    for (int i = 0; i < 500; i++) {
        CHECK(fl_heap_pop(&heap) == &items[i]);
    }
    fl_heap_free(&heap);
}

static bool
never(void *item)
{
    (void)item;
    return false;
}

static bool
always(void *item)
{
    (void)item;
    return true;
}

static void
filters_of_all_and_of_nothing(void)
{
    int items[10];
    void *gone[10];
    fl_heap heap;
    fl_heap_init(&heap);
    CHECK(fl_heap_filter(&heap, never, gone) == 0);
    for (int i = 0; i < 10; i++) {
        CHECK(fl_heap_push(&heap, 10 - i, &items[i]) == 0);
    }
    CHECK(fl_heap_filter(&heap, always, gone) == 0);
    CHECK(heap.len == 10 && fl_heap_top(&heap)->item == &items[9]);
    CHECK(fl_heap_filter(&heap, never, gone) == 10);
    CHECK(heap.len == 0 && fl_heap_top(&heap) == NULL);
    CHECK(fl_heap_push(&heap, 1, items) == 0);
    CHECK(fl_heap_pop(&heap) == items);
    fl_heap_free(&heap);
}

static void
failed_growth_changes_nothing(void)
{
    int items[1000];
    fl_heap heap;
    fl_heap_init(&heap);
    CHECK(fl_heap_top(&heap) == NULL);
    out_of_memory = true;
    CHECK(fl_heap_push(&heap, 1, items) == -ENOMEM);
    CHECK(fl_heap_top(&heap) == NULL);
    int count = 0;
    for (int growths = 0; growths < 5;) {
        if (heap.len < heap.capacity) {
            CHECK(fl_heap_push(&heap, -count, &items[count]) == 0);
            count++;
            continue;
        }
        CHECK(fl_heap_push(&heap, -1e9, NULL) == -ENOMEM);
        CHECK(heap.len == (size_t)count);
        out_of_memory = false;
        CHECK(fl_heap_push(&heap, -count, &items[count]) == 0);
        out_of_memory = true;
        count++;
        growths++;
    }
    out_of_memory = false;
    while (count-- > 0) {
        CHECK(fl_heap_pop(&heap) == &items[count]);
    }
    fl_heap_free(&heap);
}

int
main(void)
{
    behaves_like_a_sorted_array(4, 10);
    behaves_like_a_sorted_array(50, 50);
    behaves_like_a_sorted_array(1000000, 1);
    equal_deadlines_come_out_in_the_order_they_went_in();
    filters_of_all_and_of_nothing();
    failed_growth_changes_nothing();
    return 0;
}
