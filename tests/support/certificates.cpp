#include "certificates.hpp"

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace weft::test {
namespace {

constexpr long kDay = 24L * 60 * 60;

struct Free {
  void operator()(EVP_PKEY* key) const { ::EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { ::X509_free(certificate); }
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using Key = std::unique_ptr<EVP_PKEY, Free>;
using Certificate = std::unique_ptr<X509, Free>;
using File = std::unique_ptr<std::FILE, Free>;

void expect(bool is_fine, const char* what) {
  if (!is_fine) throw std::runtime_error(std::string("certificates: ") + what);
}

void extend(X509* certificate, X509* issuer, int which, const std::string& value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = ::X509V3_EXT_conf_nid(nullptr, &context, which, value.c_str());
  expect(extension != nullptr && ::X509_add_ext(certificate, extension, -1) == 1, value.c_str());
  ::X509_EXTENSION_free(extension);
}

std::string alternative_names(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) {
    const bool is_address =
        name.find_first_not_of("0123456789.") == std::string::npos || name.find(':') != std::string::npos;
    all += (all.empty() ? "" : ",") + std::string(is_address ? "IP:" : "DNS:") + name;
  }
  return all;
}

File open(const std::string& name, const char* mode) {
  File file(std::fopen(name.c_str(), mode));
  expect(file != nullptr, name.c_str());
  return file;
}

}  // namespace

struct Authority::Signer {
  /// issuer: null: itself. names: none: an authority.
  Signer(const std::string& subject, const Signer* issuer, const std::vector<std::string>& names,
         bool has_expired = false)
      : key(::EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")), certificate(::X509_new()) {
    expect(key != nullptr && certificate != nullptr, "no key");
    X509* x = certificate.get();
    X509* issuer_certificate = issuer == nullptr ? x : issuer->certificate.get();
    ::X509_set_version(x, X509_VERSION_3);
    std::uint64_t serial = 0;
    ::RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
    ::ASN1_INTEGER_set_uint64(::X509_get_serialNumber(x), serial >> 1U);
    ::X509_gmtime_adj(::X509_getm_notBefore(x), -2 * kDay);
    ::X509_gmtime_adj(::X509_getm_notAfter(x), has_expired ? -kDay : kDay);
    ::X509_set_pubkey(x, key.get());
    const auto* text = reinterpret_cast<const unsigned char*>(subject.c_str());
    ::X509_NAME_add_entry_by_txt(::X509_get_subject_name(x), "CN", MBSTRING_UTF8, text, -1, -1, 0);
    ::X509_set_issuer_name(x, ::X509_get_subject_name(issuer_certificate));
    extend(x, issuer_certificate, NID_basic_constraints, names.empty() ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (!names.empty()) extend(x, issuer_certificate, NID_subject_alt_name, alternative_names(names));
    expect(::X509_sign(x, (issuer == nullptr ? *this : *issuer).key.get(), ::EVP_sha256()) > 0, "signing");
  }
  void write_certificate(const std::string& name, const char* mode = "w") const {
    expect(::PEM_write_X509(open(name, mode).get(), certificate.get()) == 1, name.c_str());
  }

  Key key;
  Certificate certificate;
};

Authority::Authority() {
  std::string name = std::filesystem::temp_directory_path() / "weft-certificates-XXXXXX";
  expect(::mkdtemp(name.data()) != nullptr, "no folder");
  folder_ = name;
  root_ = std::make_unique<Signer>("weft test authority", nullptr, std::vector<std::string>());
  root_->write_certificate(file());
}

Authority::~Authority() { std::filesystem::remove_all(folder_); }

Authority::Issued Authority::issue(const std::vector<std::string>& names, Kind kind) {
  std::unique_ptr<Signer> between;
  if (kind == Kind::kByIntermediate) {
    between = std::make_unique<Signer>("weft test intermediate", root_.get(), std::vector<std::string>());
  }
  const Signer one("weft test", between ? between.get() : root_.get(), names, kind == Kind::kExpired);
  const std::string stem = folder_ / std::to_string(++issued_);
  const Issued issued{stem + ".pem", stem + ".key"};
  one.write_certificate(issued.certificate);
  if (between) between->write_certificate(issued.certificate, "a");
  expect(::PEM_write_PrivateKey(open(issued.key, "w").get(), one.key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1,
         issued.key.c_str());
  return issued;
}

std::string Authority::locked_key(const Issued& issued) {
  const Key key(::PEM_read_PrivateKey(open(issued.key, "r").get(), nullptr, nullptr, nullptr));
  const std::string name = issued.key + ".locked";
  std::string phrase = "open sesame";
  expect(::PEM_write_PrivateKey(open(name, "w").get(), key.get(), ::EVP_aes_128_cbc(),
                                reinterpret_cast<unsigned char*>(phrase.data()), static_cast<int>(phrase.size()),
                                nullptr, nullptr) == 1,
         name.c_str());
  return name;
}

}  // namespace weft::test
