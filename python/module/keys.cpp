#include "python/module/keys.hpp"

#include <sodium.h>

#include "base/bounds.hpp"

namespace py = pybind11;

namespace maru::python {

namespace {

constexpr char mark = '\xff';
constexpr std::size_t digest_bytes = 32;

std::string_view bytes_of(PyObject* bytes) {
  return {PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes))};
}

// As utf-8 would, and lone surrogates, which have no UTF-8, by the same scheme.
std::string utf8_with_surrogates(PyObject* text) {
  auto bytes = py::reinterpret_steal<py::object>(PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass"));
  if (!bytes)
    throw py::error_already_set();
  return std::string{bytes_of(bytes.ptr())};
}

std::string decimal(PyObject* number) {
  auto text = py::reinterpret_steal<py::object>(PyNumber_ToBase(number, 10));
  if (!text)
    throw py::error_already_set();
  return PyUnicode_AsUTF8(text.ptr());
}

}  // namespace

key_batch::key_batch(const py::list& keys) : keys_(py::reinterpret_steal<py::tuple>(PyList_AsTuple(keys.ptr()))) {
  auto n = keys_.size();
  views_.reserve(n);
  for (std::size_t i = 0; i < n; ++i)
    views_.push_back(view_of(PyTuple_GET_ITEM(keys_.ptr(), static_cast<Py_ssize_t>(i))));
}

std::string_view key_batch::view_of(PyObject* key) {
  std::string_view out;
  if (PyUnicode_Check(key)) {
    Py_ssize_t size = 0;
    if (auto* utf8 = PyUnicode_AsUTF8AndSize(key, &size)) {
      out = {utf8, static_cast<std::size_t>(size)};
    } else {
      PyErr_Clear();
      out = made_.emplace_front(utf8_with_surrogates(key));
    }
    if (out.empty())
      out = marked('s', {});
  } else if (PyLong_Check(key)) {
    out = marked('i', decimal(key));
  } else if (PyBytes_Check(key)) {
    out = marked('b', bytes_of(key));
  } else if (key == Py_None) {
    out = marked('n', {});
  } else {
    throw py::type_error(std::string{"a key must be str, int, bytes or None, not "} + Py_TYPE(key)->tp_name);
  }
  if (out.size() <= bounds::key_bytes_max)
    return out;
  std::string digest(digest_bytes, '\0');
  crypto_generichash(reinterpret_cast<unsigned char*>(digest.data()), digest.size(),
                     reinterpret_cast<const unsigned char*>(out.data()), out.size(), nullptr, 0);
  return marked('h', digest);
}

std::string_view key_batch::marked(char kind, std::string_view text) {
  auto& made = made_.emplace_front();
  made.reserve(2 + text.size());
  made += mark;
  made += kind;
  made += text;
  return made;
}

}  // namespace maru::python
