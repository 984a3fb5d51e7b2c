/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CTL_CLIENT_H
#define LOCKDOWN_CTL_CLIENT_H

/* The connection to lockdownd: sd-bus from peer to peer over its Unix socket, no message bus in between. */

#include "failure.h"
#include <jansson.h>
#include <stdint.h>

/* How long lockdownd may take to answer: an order may have to wait for a directory server. */
#define CLIENT_TIMEOUT_USEC UINT64_C(30000000)

/* The socket: GIVEN if not NULL, else the environment's, else the default. */
const char *client_socket_path(const char *given);
/* Connects and waits until the connection is up. -errno with F filled. */
int client_connect(const char *path, sd_bus **ret, struct failure *f);
/* A new call of METHOD, to be filled with its arguments. */
int client_new_call(sd_bus *bus, const char *method, sd_bus_message **ret);
/* Sends M and waits for the JSON object that answers it. -errno with F filled. */
int client_call(sd_bus *bus, sd_bus_message *m, json_t **ret, struct failure *f);

struct arguments;
/* Builds the message that asks for what A says. */
typedef int (*client_request_t)(const struct arguments *a, sd_bus *bus, sd_bus_message **ret);
/* All of it: connects to the socket that A names, asks, and hangs up. -errno with F filled. */
int client_ask(const struct arguments *a, client_request_t request, json_t **ret, struct failure *f);

#endif
