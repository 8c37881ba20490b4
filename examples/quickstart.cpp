// The smallest useful Maru worker: opens a pool, stores one chunk, looks it up, reads it in place.
//
//   marud --pool /dev/shm/maru/pool --pool-size 256MiB --state-dir /tmp/maru-state &
//   quickstart [HOST:PORT | unix:/PATH]
//
// Run it twice: the second run finds the chunk that the first one stored.
#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

#include "net/client.hpp"

namespace {

// A real worker would have the KV tensors of one block of tokens here.
constexpr std::string_view chunk = "keys and values of 16 tokens";
// The key names the content: same model, layer and tokens mean the same bytes, whoever computed them.
constexpr std::string_view key = "example-model/layer0/3f9c2a";

int fail(const maru::error& e) {
  std::fprintf(stderr, "quickstart: %s\n", maru::to_string(e).c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  maru::client_options options;
  if (argc > 1)
    options.server = argv[1];
  auto opened = maru::client::open(options);
  if (!opened)
    return fail(opened.error());
  auto& pool = **opened;

  // Is it there already? One flag per key; a worker asks for all blocks of a prompt at once.
  auto known = pool.exists({&key, 1});
  if (!known)
    return fail(known.error());
  if ((*known)[0]) {
    std::printf("found:  %s\n", std::string{key}.c_str());
  } else {
    // Write in place: the page lies in the pool's memory. Nobody sees the bytes before the commit.
    auto page = pool.alloc(chunk.size());
    if (!page)
      return fail(page.error());
    std::transform(chunk.begin(), chunk.end(), page->bytes().begin(), [](char c) { return std::byte(c); });
    auto committed = pool.commit(key, *page);
    if (!committed && committed.code() != maru::ec::exists)  // `exists`: another worker was faster, just as good
      return fail(committed.error());
    std::printf("stored: %s\n", std::string{key}.c_str());
  }

  // Read in place: the view pins the chunk until it goes, so it is neither evicted nor removed meanwhile.
  auto view = pool.retrieve(key);
  if (!view)
    return fail(view.error());
  auto bytes = view->bytes();
  std::string text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  if (!view->intact())  // asked after the last touch: memory may fail under a reader, and reads as zeros then
    return fail({maru::ec::memory_failed, "failed to read a chunk: its memory failed"});
  std::printf("read:   \"%s\" (%zu bytes, region %u, page %u)\n", text.c_str(), text.size(),
              maru::value_of(view->where().page.region), maru::value_of(view->where().page.page));
  return 0;
}
