#include <hiredis/hiredis.h>
#include <sys/time.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "base/server_address.hpp"
#include "bench/targets.hpp"

namespace maru::bench {

namespace {

constexpr timeval patience{.tv_sec = 10, .tv_usec = 0};

// Redis over hiredis: one command a key, a batch is one pipeline.
class redis_target final : public kv_target {
public:
  redis_target(redisContext* connection, std::size_t value_bytes) : connection_(connection), value_(value_bytes, 'v') {}
  ~redis_target() override { redisFree(connection_); }

  result<std::size_t> lookup(std::span<const std::string_view> keys) override { return pipeline("GET", keys); }
  result<std::size_t> exists(std::span<const std::string_view> keys) override { return pipeline("EXISTS", keys); }
  result<std::size_t> pin_unpin(std::span<const std::string_view>) override {
    return error{ec::invalid, "failed to pin: Redis has no pins"};
  }
  result<std::size_t> put(std::span<const std::string_view> keys) override { return pipeline("SET", keys, &value_); }
  result<std::size_t> remove(std::span<const std::string_view> keys) override { return pipeline("UNLINK", keys); }

private:
  error failed() const { return {ec::io, std::string{"failed to talk to Redis: "} + connection_->errstr}; }

  result<std::size_t> pipeline(std::string_view verb, std::span<const std::string_view> keys,
                               const std::string* value = nullptr) {
    for (auto key : keys) {
      const char* words[] = {verb.data(), key.data(), value ? value->data() : nullptr};
      std::size_t sizes[] = {verb.size(), key.size(), value ? value->size() : 0};
      if (redisAppendCommandArgv(connection_, value ? 3 : 2, words, sizes) != REDIS_OK)
        return failed();
    }
    std::size_t good = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      void* raw = nullptr;
      if (redisGetReply(connection_, &raw) != REDIS_OK)
        return failed();
      std::unique_ptr<redisReply, void (*)(void*)> reply{static_cast<redisReply*>(raw), freeReplyObject};
      good += succeeded(*reply);
    }
    return good;
  }

  bool succeeded(const redisReply& reply) const {
    switch (reply.type) {
      case REDIS_REPLY_INTEGER: return reply.integer == 1;                  // EXISTS, UNLINK
      case REDIS_REPLY_STATUS: return std::string_view{reply.str} == "OK";  // SET
      case REDIS_REPLY_STRING: return reply.len == value_.size();           // GET
      default: return false;
    }
  }

  redisContext* connection_;
  std::string value_;
};

}  // namespace

result<std::unique_ptr<kv_target>> open_redis(const cell_job& job) {
  auto where = parse_server_address(job.server);
  if (!where)
    return where.error();
  redisContext* connection = where->is_unix()
                               ? redisConnectUnixWithTimeout(where->path.c_str(), patience)
                               : redisConnectWithTimeout(where->tcp.host.c_str(), where->tcp.port, patience);
  if (connection == nullptr || connection->err != 0) {
    error e{ec::unavailable,
            "failed to connect to Redis at " + job.server + ": " + (connection ? connection->errstr : "no memory")};
    if (connection != nullptr)
      redisFree(connection);
    return e;
  }
  redisSetTimeout(connection, patience);
  return std::unique_ptr<kv_target>{std::make_unique<redis_target>(connection, job.value_bytes)};
}

}  // namespace maru::bench
