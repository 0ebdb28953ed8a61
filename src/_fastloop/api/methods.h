/* The methods of BaseLoop, grouped by topic, which loop_type.c puts into the type, and functions of the module. */
#ifndef FL_API_METHODS_H
#define FL_API_METHODS_H

#include "loop/loop.h"
#include "py/args.h"

extern PyMethodDef fl_lifecycle_methods[];
extern PyMethodDef fl_schedule_methods[];
extern PyMethodDef fl_task_methods[];
extern PyMethodDef fl_watch_methods[];
extern PyMethodDef fl_sock_methods[];
extern PyMethodDef fl_process_functions[]; /* of the module */

#endif
