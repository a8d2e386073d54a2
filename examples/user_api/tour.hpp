// A tour of the API: a client that tries every route and every error, and shows what is asked and what comes back.

#pragma once

#include "../support/check.hpp"
#include "service.hpp"

namespace user_api {

/// Starts the service on a free port of this machine; starts it once more, on the same database, in between.
void show_tour(const ServiceOptions& options, examples::Check& check);

}  // namespace user_api
