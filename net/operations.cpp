#include "net/operations.hpp"

#include <optional>
#include <string>
#include <utility>

#include "base/bounds.hpp"
#include "net/hashed_keys.hpp"
#include "net/local_reads.hpp"
#include "net/request_checks.hpp"

namespace maru::net {

namespace {

template <class Request, class Item>
class codes_operation final : public pending<std::vector<Item>> {
public:
  codes_operation(impl_ptr impl, const char* what, std::size_t n, Request request)
      : impl_(std::move(impl)), what_(what), n_(n), ask_(impl_->wire(), what, std::move(request), impl_->deadline()) {}
  ~codes_operation() override {
    ask_.abandon([](outcome&) {});
  }
  bool ready() override { return ask_.ready(); }

  result<std::vector<Item>> get() override {
    auto reply = ask_.finish();
    if (!reply)
      return reply.error();
    auto codes = decode_codes(reply->codes);
    if (!codes || codes->size() != n_)
      return nonsense(what_);
    if constexpr (std::is_same_v<Item, ec>) {
      return *std::move(codes);
    } else {
      std::vector<bool> out(n_);
      for (std::size_t i = 0; i < n_; ++i)
        out[i] = (*codes)[i] == ec::ok;
      return out;
    }
  }

private:
  impl_ptr impl_;
  const char* what_;
  std::size_t n_;
  exchange<Request> ask_;
};

// Asks marud for what the pool itself does not answer.
class exists_operation final : public pending<std::vector<bool>> {
public:
  exists_operation(const impl_ptr& impl, const hashed_keys& keys) : local_(exist_locally(*keys.life, keys.hashes)) {
    if (auto open = picked(keys.hashes, local_.open); !open.empty() || keys.hashes.empty())
      ask_.emplace(impl, "ask for keys", open.size(), exists_request{0, encode_hashes(open)});
  }
  bool ready() override { return !ask_ || ask_->ready(); }

  result<std::vector<bool>> get() override {
    std::vector<bool> out(local_.items.size());
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = local_.items[i].code == ec::ok;
    if (!ask_)
      return out;
    auto open = ask_->get();
    if (!open)
      return open.error();
    for (std::size_t n = 0; n < local_.open.size(); ++n)
      out[local_.open[n]] = (*open)[n];
    return out;
  }

private:
  local_answers local_;
  std::optional<codes_operation<exists_request, bool>> ask_;
};

}  // namespace

result<hashed_keys> hash_keys(client_impl& impl, const char* what, key_list keys) {
  auto line = impl.line();
  if (!line)
    return line.error();
  if (auto fits = check_batch(what, keys.size()); !fits)
    return fits.error();
  hashed_keys out{(*line)->life, {}};
  out.hashes.reserve(keys.size());
  for (auto key : keys) {
    if (auto code = check_key(key); code != ec::ok)
      return {code, failure(what, "a key has 1 to " + std::to_string(bounds::key_bytes_max) + " bytes, not "
                                    + std::to_string(key.size()))};
    out.hashes.push_back(hash_key(out.life->secret, key));
  }
  return out;
}

pending_ptr<std::vector<bool>> start_exists(const impl_ptr& impl, key_list keys) {
  auto hashed = hash_keys(*impl, "ask for keys", keys);
  if (!hashed)
    return answered<std::vector<bool>>(hashed.error());
  return std::make_unique<exists_operation>(impl, *hashed);
}

pending_ptr<std::vector<ec>> start_remove(const impl_ptr& impl, key_list keys) {
  auto hashed = hash_keys(*impl, "remove keys", keys);
  if (!hashed)
    return answered<std::vector<ec>>(hashed.error());
  return std::make_unique<codes_operation<remove_request, ec>>(impl, "remove keys", keys.size(),
                                                               remove_request{encode_hashes(hashed->hashes)});
}

}  // namespace maru::net
