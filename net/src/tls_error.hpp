#pragma once

// OpenSSL's errors as std::error_code. Its queue of errors belongs to the thread: whoever calls OpenSSL clears it before, and
// asks here right after, without a call in between that may suspend the goroutine.

#include <openssl/types.h>

#include <system_error>

#include "weft/net/tls.hpp"

namespace weft::net {

std::error_code make_tls_error(tls_errc code) noexcept;

/// What the last call has failed with. `ssl`: whose verification may be the reason; null if there is none.
std::error_code take_tls_error(const SSL* ssl) noexcept;

}  // namespace weft::net
