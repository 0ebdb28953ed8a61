/* The intrusive list against an array of the same nodes. */
#include "base/list.h"

#include <string.h>

#include "check.h"

#define NODES 50

typedef struct {
    int before;
    fl_list link;
    int after;
} thing;

/* The list must hold exactly these things, in this order, seen from either end. */
static void
check_same(const fl_list *head, thing *const *expected, size_t len)
{
    const fl_list *node = head->next;
    for (size_t i = 0; i < len; i++, node = node->next) {
        CHECK(node == &expected[i]->link);
        CHECK(FL_LIST_OWNER(node, thing, link) == expected[i]);
        CHECK(fl_list_is_linked(node));
    }
    CHECK(node == head);
    node = head->prev;
    for (size_t i = len; i-- > 0; node = node->prev) {
        CHECK(node == &expected[i]->link);
    }
    CHECK(node == head);
}

static void
random_work_keeps_the_order(void)
{
    thing things[NODES] = {0};
    thing *expected[NODES] = {0};
    size_t len = 0;
    fl_list head;
    fl_list_init(&head);
    check_same(&head, expected, 0);
    for (int i = 0; i < 20000; i++) {
        thing *one = &things[random_below(NODES)];
        if (!fl_list_is_linked(&one->link)) {
            fl_list_append(&head, &one->link);
            expected[len++] = one;
        }
        else {
            size_t at = 0;
            while (expected[at] != one) {
                at++;
            }
            memmove(expected + at, expected + at + 1, (--len - at) * sizeof(*expected));
            fl_list_remove(&one->link);
            CHECK(!fl_list_is_linked(&one->link));
            fl_list_remove(&one->link); /* in no list: nothing happens */
        }
        check_same(&head, expected, len);
    }
    CHECK(things[0].before == 0 && things[0].after == 0);
}

static void
a_node_moves_between_lists(void)
{
    fl_list first, second;
    thing one = {0}, other = {0};
    fl_list_init(&first);
    fl_list_init(&second);
    fl_list_append(&first, &one.link);
    fl_list_append(&first, &other.link);
    fl_list_remove(&one.link);
    fl_list_append(&second, &one.link);
    check_same(&first, (thing *[]){&other}, 1);
    check_same(&second, (thing *[]){&one}, 1);
    fl_list_remove(&other.link);
    check_same(&first, NULL, 0);
}

int
main(void)
{
    random_work_keeps_the_order();
    a_node_moves_between_lists();
    return 0;
}
