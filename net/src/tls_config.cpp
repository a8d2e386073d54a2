#include "tls_config.hpp"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <new>
#include <string_view>

#include "fail.hpp"
#include "tls_error.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"
#include "weft/once.hpp"

namespace weft::net {
namespace {

// OpenSSL is not taken down when the process ends, where goroutines may still be in it: its handler for that would run before the
// default runtime is stopped. Whoever calls OpenSSL first decides; so it is done before main.
[[maybe_unused]] const bool openssl_is_kept = ::OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr) == 1;

SSL_CTX* make_ctx() {
  ::ERR_clear_error();
  SSL_CTX* ctx = ::SSL_CTX_new(::TLS_method());
  if (ctx == nullptr) throw std::system_error(take_tls_error(nullptr), "weft: net: TlsConfig");
  ::SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  ::SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
  ::SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  ::SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);                       // clients keep tickets
  ::SSL_CTX_set_default_passwd_cb(ctx, [](char*, int, int, void*) { return 0; });  // instead of asking on the terminal
  // Sessions of a server that asks for certificates are resumed within the same application only.
  static constexpr unsigned char kSessions[] = {'w', 'e', 'f', 't'};
  ::SSL_CTX_set_session_id_context(ctx, kSessions, sizeof kSessions);
  return ctx;
}

/// The system's, of its one big file. To read that takes OpenSSL a tenth of a second: once in a process, as in Go.
const STACK_OF(X509) * system_authorities() {
  static Once once;
  static STACK_OF(X509)* all = nullptr;  // kept to the end
  once.call([] {
    blocking([] {
      X509_STORE* store = ::X509_STORE_new();
      if (store == nullptr) throw std::bad_alloc();
      ::X509_STORE_set_default_paths(store);
      all = ::X509_STORE_get1_all_certs(store);
      ::X509_STORE_free(store);
      ::ERR_clear_error();  // nobody has to have such a file
    });
  });
  return all;
}

/// `read` is OpenSSL's, and returns 1 if all is well.
template <class Read>
void read_file(const char* call, const std::string& file, Read read) {
  std::error_code error;
  blocking([&] {
    ::ERR_clear_error();
    if (read() != 1) error = take_tls_error(nullptr);
  });
  if (error) fail(error, call, file);
}

void use_certificate(SSL_CTX* ctx, const char* call, const std::string& certificate_file, const std::string& key_file) {
  read_file(call, certificate_file,
            [&] { return ::SSL_CTX_use_certificate_chain_file(ctx, certificate_file.c_str()); });
  read_file(call, key_file, [&] { return ::SSL_CTX_use_PrivateKey_file(ctx, key_file.c_str(), SSL_FILETYPE_PEM); });
}

/// Of a server, during the handshake: the first of ours that the client has offered.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                    unsigned int offered_size, void* ours) {
  const auto& names = *static_cast<const std::string*>(ours);
  const auto* bytes = reinterpret_cast<const unsigned char*>(names.data());
  unsigned char* out = nullptr;
  if (::SSL_select_next_proto(&out, size, bytes, static_cast<unsigned>(names.size()), offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *chosen = out;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

TlsConfig::TlsConfig(bool is_server) : data_(std::make_shared<Data>(make_ctx(), is_server)) {}

TlsConfig TlsConfig::client() {
  TlsConfig config(false);
  SSL_CTX* ctx = config.data_->ctx.get();
  ::SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
  const STACK_OF(X509)* authorities = system_authorities();
  for (int i = 0; i < sk_X509_num(authorities); ++i) {
    ::X509_STORE_add_cert(::SSL_CTX_get_cert_store(ctx), sk_X509_value(authorities, i));
  }
  ::SSL_CTX_set_default_verify_dir(ctx);  // looked into when one is needed
  return config;
}

TlsConfig TlsConfig::server(const std::string& certificate_file, const std::string& key_file) {
  TlsConfig config(true);
  use_certificate(config.data_->ctx.get(), "TlsConfig::server", certificate_file, key_file);
  return config;
}

TlsConfig& TlsConfig::add_authority(const std::string& certificate_file) {
  SSL_CTX* ctx = data_->ctx.get();
  read_file("TlsConfig::add_authority", certificate_file,
            [&] { return ::SSL_CTX_load_verify_file(ctx, certificate_file.c_str()); });
  return *this;
}

TlsConfig& TlsConfig::skip_verification() {
  ::SSL_CTX_set_verify(data_->ctx.get(), SSL_VERIFY_NONE, nullptr);
  return *this;
}

TlsConfig& TlsConfig::protocols(const std::vector<std::string>& names) {
  data_->protocols.clear();
  for (const std::string& name : names) {
    if (name.empty() || name.size() > 255)
      weft::detail::throw_panic("net: TlsConfig::protocols: a name has 1 to 255 bytes");
    data_->protocols += static_cast<char>(name.size());
    data_->protocols += name;
  }
  SSL_CTX* ctx = data_->ctx.get();
  if (data_->is_server) {
    ::SSL_CTX_set_alpn_select_cb(ctx, data_->protocols.empty() ? nullptr : &choose_protocol, &data_->protocols);
  } else {
    const auto* bytes = reinterpret_cast<const unsigned char*>(data_->protocols.data());
    if (::SSL_CTX_set_alpn_protos(ctx, bytes, static_cast<unsigned>(data_->protocols.size())) != 0)
      throw std::bad_alloc();
  }
  return *this;
}

TlsConfig& TlsConfig::certificate(const std::string& certificate_file, const std::string& key_file) {
  use_certificate(data_->ctx.get(), "TlsConfig::certificate", certificate_file, key_file);
  return *this;
}

TlsConfig& TlsConfig::require_client_certificate() {
  ::SSL_CTX_set_verify(data_->ctx.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return *this;
}

}  // namespace weft::net
