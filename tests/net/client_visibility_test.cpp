// Goal: the client makes every byte of a chunk visible once, in the way that the bytes came to the page, and before its
// commit. Method: a fake marud, and a visibility that writes down what is asked of it.
#include <algorithm>
#include <mutex>

#include "net/client_impl.hpp"
#include "tests/net/client_fixture.hpp"
#include "tests/support/must.hpp"

namespace maru::test {
namespace {

// Does what hardware's does. Sizes in the order of the calls.
class written_down final : public cxl::visibility {
public:
  void publish(std::span<const std::byte> bytes) const override { add(published_, bytes.size()); }
  void acquire(std::span<const std::byte>) const override {}
  void copy(std::span<std::byte> to, std::span<const std::byte> from) const override {
    std::copy(from.begin(), from.end(), to.begin());
    add(copied_, to.size());
  }
  using sizes = std::vector<std::size_t>;
  sizes published() const { return look(published_); }
  sizes copied() const { return look(copied_); }

private:
  void add(sizes& list, std::size_t size) const {
    std::lock_guard lock(mutex_);
    list.push_back(size);
  }
  sizes look(const sizes& list) const {
    std::lock_guard lock(mutex_);
    return list;
  }
  mutable std::mutex mutex_;
  mutable sizes published_, copied_;
};

using sizes = written_down::sizes;

class ClientVisibility : public client_fixture {
protected:
  std::shared_ptr<client> open() {
    auto map = [this](const client_options& o, const net::hello_reply& reply) {
      auto mapped = net::map_pool(o, reply);
      if (!mapped)
        return mapped;
      auto pool = std::make_shared<net::mapped_pool>(**mapped);
      pool->visible = seen_;
      return result<std::shared_ptr<const net::mapped_pool>>{pool};
    };
    auto opened = net::client_impl::open_client(options(), map);
    EXPECT_TRUE(opened) << to_string(opened.error());
    return opened ? *opened : nullptr;
  }

  std::shared_ptr<written_down> seen_ = std::make_shared<written_down>();
};

TEST_F(ClientVisibility, AStoredChunkIsCopiedAndNotPublishedAgain) {
  auto c = open();
  ASSERT_TRUE(c);
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  EXPECT_EQ(seen_->copied(), sizes{3});
  EXPECT_EQ(seen_->published(), sizes{});
  EXPECT_EQ(text_of(must(c->retrieve("a")).bytes()), "abc");
  EXPECT_EQ(c->store("a", bytes_of("abcd")).code(), ec::exists);
  EXPECT_EQ(seen_->copied(), (sizes{3, 4}));
  EXPECT_EQ(seen_->published(), sizes{}) << "the page that was not needed holds nothing unpublished either";
}

TEST_F(ClientVisibility, AChunkThatIsWrittenInPlaceIsPublishedAtItsCommit) {
  auto c = open();
  ASSERT_TRUE(c);
  auto page = must(c->alloc(3));
  write(page, "abc");
  EXPECT_EQ(seen_->published(), sizes{});
  ASSERT_TRUE(c->commit("a", page));
  EXPECT_EQ(seen_->published(), sizes{3});
  EXPECT_EQ(seen_->copied(), sizes{});
}

// The page that was filled before is the one that is granted again.
TEST_F(ClientVisibility, APageIsFilledForOneUseOnly) {
  auto c = open();
  ASSERT_TRUE(c);
  must(c->alloc(3)).fill(bytes_of("abc"));
  auto pages = must(c->alloc_batch(options().grant_batch, 3));
  for (auto& page : pages)
    write(page, "xyz");
  pages.clear();
  EXPECT_EQ(seen_->published(), sizes(options().grant_batch, 3));
}

TEST_F(ClientVisibility, OnlyWhatIsCutOffIsPublishedByShrinking) {
  auto c = open();
  ASSERT_TRUE(c);
  auto page = must(c->alloc(10));
  page.shrink(10);
  EXPECT_EQ(seen_->published(), sizes{});
  page.shrink(3);
  EXPECT_EQ(seen_->published(), sizes{7});
  ASSERT_TRUE(c->commit("a", page));
  EXPECT_EQ(seen_->published(), (sizes{7, 3}));
}

TEST_F(ClientVisibility, AFilledPageHasTheSizeOfItsChunk) {
  auto c = open();
  ASSERT_TRUE(c);
  auto page = must(c->alloc(10));
  page.fill(bytes_of("abc"));
  ASSERT_TRUE(c->commit("a", page));
  EXPECT_EQ(text_of(must(c->retrieve("a")).bytes()), "abc");
  EXPECT_EQ(seen_->copied(), sizes{3});
  EXPECT_EQ(seen_->published(), sizes{}) << "nothing was written to the rest";
}

TEST_F(ClientVisibility, AFilledPageMovesWithWhatIsKnownOfIt) {
  auto c = open();
  ASSERT_TRUE(c);
  auto first = must(c->alloc(3));
  first.fill(bytes_of("abc"));
  auto second = std::move(first);
  page_buffer third;
  third = std::move(second);
  ASSERT_TRUE(c->commit("a", third));
  EXPECT_EQ(seen_->published(), sizes{});
}

// A checksum that is wrong would make the chunk a miss.
TEST_F(ClientVisibility, FilledPagesHaveTheChecksumOfTheirBytes) {
  pool().checksums = static_cast<std::uint8_t>(net::payload_checksums::verify);
  auto c = open();
  ASSERT_TRUE(c);
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  auto where = must(c->lookup(keys{"a"})).front();
  ASSERT_TRUE(where);
  EXPECT_NE(where->checksum, 0u);
  EXPECT_EQ(text_of(must(c->retrieve("a")).bytes()), "abc");

  auto page = must(c->alloc(6));
  page.fill(bytes_of("abcdef"));
  page.shrink(2);
  ASSERT_TRUE(c->commit("b", page));
  EXPECT_EQ(text_of(must(c->retrieve("b")).bytes()), "ab");

  page = must(c->alloc(3));
  write(page, "xyz");
  ASSERT_TRUE(c->commit("c", page));
  EXPECT_EQ(text_of(must(c->retrieve("c")).bytes()), "xyz");
  EXPECT_EQ(c->info().damaged, 0u);
}

}  // namespace
}  // namespace maru::test
