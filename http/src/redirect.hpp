#pragma once

// Where a reply sends the client, and what it asks there: the rules of Go's client.

#include <string>
#include <system_error>

#include "reply.hpp"

namespace weft::http::detail {

/// The redirects of one call.
class Redirects {
 public:
  Redirects(const RequestUrl& first, int most) : first_(first), most_(most) {}

  /// Whether the reply is to be followed: then the request is what is to be asked next. An error: it is, and cannot be.
  bool follow(const Reply& reply, Outgoing& request, std::error_code& error);

 private:
  const RequestUrl first_;
  const int most_;
  int count_ = 0;
};

}  // namespace weft::http::detail
