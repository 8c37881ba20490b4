#include "python/module/client_object.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <span>

#include "base/bounds.hpp"
#include "python/module/buffer.hpp"
#include "python/module/errors.hpp"
#include "python/module/gil.hpp"
#include "python/module/keeper.hpp"
#include "python/module/keys.hpp"
#include "python/module/slots.hpp"
#include "python/module/store_pages.hpp"

namespace py = pybind11;

namespace maru::python {

namespace {

page_ref page_of(std::uint32_t region, std::uint32_t page) { return {region_id{region}, page_index{page}}; }

// A list of what `item(i)` makes: an owned reference each.
template <class F>
py::list list_of(std::size_t n, F item) {
  auto out = py::reinterpret_steal<py::list>(PyList_New(static_cast<Py_ssize_t>(n)));
  for (std::size_t i = 0; i < n; ++i)
    PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), item(i));
  return out;
}

template <class Answers>
py::list bools(const Answers& answers) {
  return list_of(answers.size(), [&](std::size_t i) { return PyBool_FromLong(answers[i] ? 1 : 0); });
}

// What `begin` starts answers about these keys. The pool itself answers a few in less time than it takes to give the GIL back
// and to get it again, which other threads queue for: they are begun with it, and marud's answer alone is waited for without.
// `then` is told of the answer at once, with or without the GIL.
template <class Begin, class Then>
auto answer_of(const key_batch& keys, Begin begin, Then then) {
  constexpr std::size_t few = 16;
  auto finish = [&then](auto answer) {
    auto out = answer.get();
    then(out);
    return out;
  };
  if (keys.size() > few)
    return without_gil([&] { return finish(begin()); });
  auto answer = begin();
  return answer.ready() ? finish(std::move(answer)) : without_gil([&] { return finish(std::move(answer)); });
}

// An attribute of a handle as a number, empty where no page has it: from its class's slots where it has some, as
// AllocHandle does, else by name.
std::optional<std::uint32_t> number_in(PyObject* handle, std::size_t attribute) {
  constexpr slots::names names = {"_region_id", "_page_index", "_size"};
  static std::optional<slots> known;  // of the first class that has them
  if (!known)
    known = slots::of(Py_TYPE(handle), names);
  auto* kept = known && known->fit(handle) ? known->at(handle, attribute) : nullptr;
  auto value = kept ? py::reinterpret_borrow<py::object>(kept)
                    : py::reinterpret_steal<py::object>(PyObject_GetAttrString(handle, names[attribute]));
  if (!value)
    throw py::error_already_set();
  auto number = PyLong_AsLongLong(value.ptr());
  if (number == -1 && PyErr_Occurred()) {
    if (!PyErr_ExceptionMatches(PyExc_OverflowError))
      throw py::error_already_set();
    PyErr_Clear();
  }
  if (number < 0 || number > std::numeric_limits<std::uint32_t>::max())
    return std::nullopt;
  return static_cast<std::uint32_t>(number);
}

std::vector<page_ask> asks_of(const py::list& handles, std::size_t chunk_bytes) {
  std::vector<page_ask> asks;
  asks.reserve(handles.size());
  for (auto handle : handles) {
    auto region = number_in(handle.ptr(), 0), page = number_in(handle.ptr(), 1), size = number_in(handle.ptr(), 2);
    if (!size || *size > chunk_bytes)
      throw py::value_error("failed to store a page: a chunk has 0 to " + std::to_string(chunk_bytes) + " bytes");
    asks.push_back({region && page ? page_of(*region, *page) : page_ref{}, *size});
  }
  return asks;
}

// Instances of one class, with what is in its slots and without its __init__: a dataclass's does no more, at several
// times the time.
class info_maker {
public:
  // TypeError where the class does not keep the three in slots.
  explicit info_maker(const py::type& made)
      : type_(reinterpret_cast<PyTypeObject*>(made.ptr())), slots_(slots_of(type_)) {}

  py::object make(py::object memory, page_ref where) const {
    static PyObject* const no_arguments = PyTuple_New(0);
    auto info = py::reinterpret_steal<py::object>(type_->tp_new(type_, no_arguments, nullptr));
    if (!info)
      throw py::error_already_set();
    slots_.at(info.ptr(), 0) = memory.release().ptr();
    slots_.at(info.ptr(), 1) = py::int_{value_of(where.region)}.release().ptr();
    slots_.at(info.ptr(), 2) = py::int_{value_of(where.page)}.release().ptr();
    return info;
  }

private:
  static slots slots_of(PyTypeObject* type) {
    static std::optional<slots> known;  // there is one such class
    if (!known || !known->of_class(type))
      known = slots::of(type, {"view", "region_id", "page_index"});
    if (!known)
      throw py::type_error("a class for what is retrieved has view, region_id and page_index in __slots__");
    return *known;
  }

  PyTypeObject* type_;
  slots slots_;
};

}  // namespace

client_object::client_object(client_options options)
    : timeout_(options.timeout), chunk_bytes_(options.chunk_bytes), client_(without_gil([&] {
        auto opened = must(client::open(std::move(options)));
        return keep(std::move(opened));
      })) {}

void client_object::close() {
  without_gil([this] {
    book_.clear();
    pins_.clear();
    client_->close();
    return 0;
  });
}

// -- pages

py::object client_object::alloc(std::size_t size, std::optional<std::size_t> budget) {
  if (!book_.reserve(budget.value_or(std::numeric_limits<std::size_t>::max())))
    return py::none();
  auto page = without_gil([this] { return client_->alloc(chunk_bytes_); });
  auto where = page ? page->grant().page : page_ref{};
  // The memory outlives the page_buffer: callers write and read it also after the page is stored.
  auto memory =
    page ? client_->region_bytes(where.region, value_of(where.page), 1) : result<region_memory>{page.error()};
  if (!memory) {
    book_.give_up();
    throw failure{memory.error()};
  }
  book_.add(*std::move(page));
  auto bytes = memory->bytes.first(size);
  return py::make_tuple(value_of(where.region), value_of(where.page), make_memoryview(bytes, memory->keeps));
}

void client_object::fill(std::uint32_t region, std::uint32_t page, const py::object& source) {
  Py_buffer from;
  if (PyObject_GetBuffer(source.ptr(), &from, PyBUF_SIMPLE) != 0)
    throw py::error_already_set();
  std::span chunk{static_cast<const std::byte*>(from.buf), static_cast<std::size_t>(from.len)};
  // Without the GIL other threads may do as they like with the source, as with any copy in Python.
  bool done = without_gil([&] {
    auto where = page_of(region, page);
    auto taken = std::move(book_.take({&where, 1}).front());
    if (!taken)
      return false;
    bool fits = chunk.size() <= taken->bytes().size();
    if (fits)
      taken->fill(chunk);
    book_.reopen(*std::move(taken));
    return fits;
  });
  PyBuffer_Release(&from);
  if (!done)
    throw py::value_error("failed to fill a page: it is not open for writing, or the source is longer");
}

std::string client_object::free(std::uint32_t region, std::uint32_t page) {
  auto where = page_of(region, page);
  if (book_.free(where))
    return "freed";
  auto state = without_gil([&] { return book_.settled(where, std::chrono::steady_clock::now() + timeout_); });
  if (state == page_book::state::open)
    return book_.free(where) ? "freed" : "unknown";
  if (!state)
    return "unknown";
  if (state != page_book::state::committed)
    return "doubtful";
  auto known = book_.committed_at(where);
  if (!known)
    return "unknown";
  std::string_view key = known->key;
  auto found = without_gil([&] { return client_->lookup({&key, 1}); });
  if (!found || (found->front() && found->front()->page == where && found->front()->gen == known->where.gen))
    return "committed";
  book_.forget(known->where);
  return "unknown";
}

py::tuple client_object::store(const py::list& keys, const py::list& handles) {
  key_batch batch{keys};
  auto asks = asks_of(handles, chunk_bytes_);
  auto answers = must(without_gil([&] { return store_pages(*client_, book_, batch.views(), asks, timeout_); }));
  const auto& each = answers.each;
  auto flags = list_of(each.size(), [&](std::size_t i) { return PyBool_FromLong(each[i] == stored::yes); });
  return py::make_tuple(flags, std::find(each.begin(), each.end(), stored::doubt) != each.end(), answers.trouble);
}

// -- reads

py::list client_object::retrieve(const py::list& keys, const py::type& info_class) {
  key_batch batch{keys};
  auto views = must(without_gil([&] { return client_->retrieve_batch(batch.views()); }));
  info_maker infos{info_class};
  return list_of(views.size(), [&](std::size_t i) {
    if (!views[i])
      return py::none().release().ptr();
    auto where = views[i].where().page;
    auto bytes = views[i].bytes();
    // Writable, as callers expect of a memoryview from a pool: they promise not to.
    std::span<std::byte> shown{const_cast<std::byte*>(bytes.data()), bytes.size()};
    return infos.make(make_memoryview(shown, client_, std::move(views[i])), where).release().ptr();
  });
}

py::list client_object::exists(const py::list& keys) {
  key_batch batch{keys};
  auto begin = [&] { return client_->exists_async(batch.views()); };
  return bools(must(answer_of(batch, begin, [](const auto&) {})));
}

py::list client_object::pin(const py::list& keys) {
  key_batch batch{keys};
  auto begin = [&] { return client_->lookup_async(batch.views(), {.pin = true, .prefix_stop = true}); };
  auto found = must(answer_of(batch, begin, [&](const auto& answer) {
    for (std::size_t i = 0; answer && i < answer->size(); ++i)
      if ((*answer)[i])
        pins_.add(batch.views()[i], *(*answer)[i]);
  }));
  return list_of(found.size(), [&](std::size_t i) { return PyBool_FromLong(found[i].has_value()); });
}

py::list client_object::unpin(const py::list& keys) {
  key_batch batch{keys};
  auto begin = [&] { return client_->unpin_async(batch.views()); };
  auto ended = must(answer_of(batch, begin, [&](auto& answer) {
    for (std::size_t i = 0; i < batch.size(); ++i)
      if (!answer || (*answer)[i])  // also without an answer: the pin left the client's book before it was asked for
        pins_.drop(batch.views()[i]);
    // Those by message end with the connection that is gone, too. But marud did not say so, and callers count on what it says.
    if (answer && !client_->connected() && !client_->info().local_reads)
      answer->assign(answer->size(), false);
  }));
  return bools(ended);
}

bool client_object::release_pin(std::uint32_t region, std::uint32_t page) {
  auto key = pins_.take(page_of(region, page));
  if (!key)
    return false;
  std::string_view text = *key;
  return static_cast<bool>(client_->unpin_later({&text, 1}));
}

py::list client_object::remove(const py::list& keys) {
  key_batch batch{keys};
  auto codes = must(without_gil([&] { return client_->remove(batch.views()); }));
  py::list out{codes.size()};
  for (std::size_t i = 0; i < codes.size(); ++i)
    out[i] = std::string{to_string(codes[i])};
  return out;
}

// -- regions

py::object client_object::region(std::uint32_t id) {
  auto shape = without_gil([&] { return client_->region(region_id{id}); });
  if (shape.code() == ec::missing || shape.code() == ec::corrupt)
    return py::none();
  auto memory = must(client_->region_bytes(region_id{id}, 0, must(shape).pages));
  return py::make_tuple(make_memoryview(memory.bytes, memory.keeps), shape->page_bytes);
}

py::tuple client_object::show_region(std::size_t pages) {
  auto shown = must(without_gil([&] { return client_->show_region(pages); }));
  return py::make_tuple(value_of(shown.id), shown.pages);
}

py::dict client_object::usage(bool totals) {
  auto used = must(without_gil([&] { return client_->usage(totals); }));
  page_book::counts committed;
  py::list shown;
  for (auto& region : used.regions) {
    if (region.committed > 0)
      committed[value_of(region.region)] = region.committed;
    if (region.shown)
      shown.append(py::make_tuple(value_of(region.region), region.pages));
  }
  book_.recounted(committed, client_->info().pages_in_doubt == 0);
  py::dict out;
  out["shown"] = shown;
  out["entries"] = used.entries;
  out["entry_bytes"] = used.entry_bytes;
  out["sessions"] = used.sessions;
  out["shown_regions"] = used.shown_regions;
  out["shown_bytes"] = used.shown_bytes;
  out["pool_bytes"] = used.pool_bytes;
  out["pool_free_bytes"] = used.pool_free_bytes;
  return out;
}

py::dict client_object::info() const {
  auto now = client_->info();
  py::dict out;
  out["session"] = now.session;
  out["epoch"] = now.epoch;
  out["page_bytes"] = now.page_bytes;
  out["pool"] = now.pool;
  out["pool_path"] = now.pool_path;
  out["grants_in_reserve"] = now.grants_in_reserve;
  out["damaged"] = now.damaged;
  out["pages_in_doubt"] = now.pages_in_doubt;
  out["connected"] = now.connected;
  out["local_reads"] = now.local_reads;
  out["why_not_local"] = now.why_not_local;
  return out;
}

}  // namespace maru::python
