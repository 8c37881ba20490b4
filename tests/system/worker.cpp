// A worker for the system tests, so that it can be killed: reads commands, one a line, and answers each with one line.
//
//   put KEY...     stores the content of each key          -> ok, or the first error's name
//   get KEY        reads and compares                      -> ok, missing, wrong, or an error's name
//   pin KEY...     pins                                    -> number of pins taken
//   hold N         takes N pages and writes half of each   -> number of pages held
//   view KEY       keeps a view                            -> ok or missing
//   look           compares the kept view's bytes          -> ok or wrong
//   fill NAME N    stores NAME/0 to NAME/N-1               -> ok, or the first error's name
//   pin_all NAME N pins these                              -> number of pins taken
//   scribble MS    writes all of the held pages, again and again -> ok
//   commit KEY     commits the last of the held pages      -> ok, or the error's name
//   drop           lets go of the held pages and the view  -> ok
#include <algorithm>
#include <chrono>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "net/client.hpp"
#include "tests/system/content.hpp"

namespace {

using maru::test::content_of;

struct kept_view {
  std::string key;
  maru::view bytes;
};

std::string compare(const maru::view& v, const std::string& key) {
  auto wanted = content_of(key, v.bytes().size());
  bool same = std::memcmp(v.bytes().data(), wanted.data(), wanted.size()) == 0;
  return !v.intact() ? "memory_failed" : same ? "ok" : "wrong";
}

constexpr std::size_t batch_max = 256;

// The keys NAME/from to NAME/end-1, at most a batch of them.
std::vector<std::string> numbered(const std::string& name, std::size_t from, std::size_t end) {
  std::vector<std::string> keys;
  for (; from < end && keys.size() < batch_max; ++from)
    keys.push_back(name + "/" + std::to_string(from));
  return keys;
}

std::string fill(maru::client& c, const std::string& name, std::size_t count) {
  for (std::size_t n = 0; n < count; n += batch_max) {
    auto keys = numbered(name, n, count);
    auto pages = c.alloc_batch(keys.size(), 4096);
    if (!pages)
      return std::string{maru::to_string(pages.code())};
    for (std::size_t i = 0; i < keys.size(); ++i)
      std::memcpy((*pages)[i].bytes().data(), content_of(keys[i], 4096).data(), 4096);
    auto codes = c.commit_batch(std::vector<std::string_view>{keys.begin(), keys.end()}, *pages);
    if (!codes)
      return std::string{maru::to_string(codes.code())};
    for (auto code : *codes)
      if (code != maru::ec::ok)
        return std::string{maru::to_string(code)};
  }
  return "ok";
}

std::string pin_all(maru::client& c, const std::string& name, std::size_t count) {
  std::ptrdiff_t taken = 0;
  for (std::size_t n = 0; n < count; n += batch_max) {
    auto keys = numbered(name, n, count);
    auto pinned = c.pin(std::vector<std::string_view>{keys.begin(), keys.end()});
    if (!pinned)
      return std::string{maru::to_string(pinned.code())};
    taken += std::count(pinned->begin(), pinned->end(), true);
  }
  return std::to_string(taken);
}

void scribble(std::vector<maru::page_buffer>& held, std::chrono::milliseconds time) {
  auto end = std::chrono::steady_clock::now() + time;
  do
    for (auto& page : held)
      std::memset(page.bytes().data(), 0xCD, page.bytes().size());
  while (std::chrono::steady_clock::now() < end);
}

std::string do_command(maru::client& c, const std::string& line, std::vector<maru::page_buffer>& held,
                       kept_view& kept) {
  std::istringstream in{line};
  std::string verb;
  in >> verb;
  std::vector<std::string> words;
  for (std::string word; in >> word;)
    words.push_back(word);
  std::vector<std::string_view> keys{words.begin(), words.end()};
  if (verb == "put") {
    for (const auto& key : words) {
      auto bytes = content_of(key, 4096);
      if (auto stored = c.store(key, std::as_bytes(std::span{bytes})); !stored)
        return std::string{maru::to_string(stored.code())};
    }
    return "ok";
  }
  if (verb == "way") {
    auto info = c.info();
    return info.local_reads ? "pool" : "messages: " + info.why_not_local;
  }
  if (verb == "get") {
    auto v = c.retrieve(words.at(0));
    return v ? compare(*v, words.at(0)) : std::string{maru::to_string(v.code())};
  }
  if (verb == "pin") {
    auto pinned = c.pin(keys);
    return pinned ? std::to_string(std::count(pinned->begin(), pinned->end(), true))
                  : std::string{maru::to_string(pinned.code())};
  }
  if (verb == "hold") {
    for (auto n = std::stoul(words.at(0)); held.size() < n;) {
      auto page = c.alloc(4096);
      if (!page)
        break;
      std::memset(page->bytes().data(), 0xAB, 2048);
      held.push_back(std::move(*page));
    }
    return std::to_string(held.size());
  }
  if (verb == "view") {
    auto v = c.retrieve(words.at(0));
    if (!v)
      return std::string{maru::to_string(v.code())};
    kept = {words.at(0), std::move(*v)};
    return "ok";
  }
  if (verb == "look")
    return compare(kept.bytes, kept.key);
  if (verb == "fill")
    return fill(c, words.at(0), std::stoul(words.at(1)));
  if (verb == "pin_all")
    return pin_all(c, words.at(0), std::stoul(words.at(1)));
  if (verb == "scribble") {
    scribble(held, std::chrono::milliseconds{std::stol(words.at(0))});
    return "ok";
  }
  if (verb == "commit") {
    auto done = c.commit(words.at(0), held.at(held.size() - 1));
    return std::string{maru::to_string(done.code())};
  }
  if (verb == "drop") {
    held.clear();
    kept = {};
    return "ok";
  }
  return "unknown command";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3)
    return 2;
  auto c =
    maru::client::open({.server = argv[1], .chunk_bytes = std::stoul(argv[2]), .timeout = std::chrono::seconds{10}});
  std::cout << (c ? "ready" : to_string(c.error())) << std::endl;
  if (!c)
    return 1;
  std::vector<maru::page_buffer> held;
  kept_view kept;
  for (std::string line; std::getline(std::cin, line);)
    std::cout << do_command(**c, line, held, kept) << std::endl;
  return 0;
}
