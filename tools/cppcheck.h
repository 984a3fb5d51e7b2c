/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For cppcheck alone (tools/analyze), which reads no system headers: macros of theirs that look like statements. */
#define json_array_foreach(array, index, value) \
        for (index = 0; (value = json_array_get(array, index)) != NULL; index++)
#define json_object_foreach(object, key, value)                                                  \
        for (key = first_key(object); key != NULL && (value = json_object_get(object, key)) != NULL; \
             key = next_key(object, key))
#define LIBBPF_OPTS(type, name, ...) struct type name = {__VA_ARGS__}
