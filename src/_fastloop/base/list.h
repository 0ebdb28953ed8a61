/* Intrusive doubly linked list: the links live in the listed object, so adding and removing never
   allocate and never fail.  Used for the loops of a module and the tasks of a loop. */
#ifndef FL_BASE_LIST_H
#define FL_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* A node, or a list's head.  next == NULL: the node is in no list (a head is never NULL). */
typedef struct fl_list {
    struct fl_list *next;
    struct fl_list *prev;
} fl_list;

#define FL_LIST_OWNER(node, type, field) ((type *)((char *)(node) - offsetof(type, field)))

static inline void
fl_list_init(fl_list *head)
{
    head->next = head->prev = head;
}

static inline bool
fl_list_is_linked(const fl_list *node)
{
    return node->next != NULL;
}

/* Put node, which must be in no list, at the end. */
static inline void
fl_list_append(fl_list *head, fl_list *node)
{
    node->next = head;
    node->prev = head->prev;
    head->prev->next = node;
    head->prev = node;
}

/* Take node out of its list; nothing happens when it is in none. */
static inline void
fl_list_remove(fl_list *node)
{
    if (node->next == NULL) {
        return;
    }
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

#endif
