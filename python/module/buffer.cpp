#include "python/module/buffer.hpp"

#include <new>
#include <utility>

namespace py = pybind11;

namespace maru::python {

namespace {

// Written against Python's own interface: pybind11's buffers cost several allocations for each memoryview.
struct buffer {
  PyObject head;
  std::span<std::byte> bytes;
  std::shared_ptr<const void> owner;
  view chunk;
};

PyTypeObject* buffer_type = nullptr;

void deallocate(PyObject* self) {
  auto* b = reinterpret_cast<buffer*>(self);
  auto* type = Py_TYPE(self);
  b->chunk.~view();
  b->owner.~shared_ptr();
  type->tp_free(self);
  Py_DECREF(type);
}

int get_buffer(PyObject* self, Py_buffer* out, int flags) {
  static std::byte nothing{};
  auto bytes = reinterpret_cast<buffer*>(self)->bytes;
  auto* data = bytes.empty() ? &nothing : bytes.data();
  return PyBuffer_FillInfo(out, self, data, static_cast<Py_ssize_t>(bytes.size()), 0, flags);
}

Py_ssize_t length(PyObject* self) { return static_cast<Py_ssize_t>(reinterpret_cast<buffer*>(self)->bytes.size()); }

constexpr auto description = "Bytes of the pool. What they stand for is held until the last view of them is gone.";

PyType_Slot slots[] = {
  {Py_tp_dealloc, reinterpret_cast<void*>(deallocate)},
  {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
  {Py_sq_length, reinterpret_cast<void*>(length)},
  {Py_tp_doc, const_cast<char*>(description)},
  {0, nullptr},
};

PyType_Spec spec = {"maru_handler._maru.Buffer", sizeof(buffer), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

}  // namespace

void add_buffer_type(py::module_& module) {
  auto type = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
  if (!type)
    throw py::error_already_set();
  module.attr("Buffer") = type;
  buffer_type = reinterpret_cast<PyTypeObject*>(type.release().ptr());
}

py::object make_memoryview(std::span<std::byte> bytes, std::shared_ptr<const void> owner, view chunk) {
  auto object = py::reinterpret_steal<py::object>(buffer_type->tp_alloc(buffer_type, 0));
  if (!object)
    throw py::error_already_set();
  auto* b = reinterpret_cast<buffer*>(object.ptr());
  b->bytes = bytes;
  new (&b->owner) std::shared_ptr<const void>{std::move(owner)};
  new (&b->chunk) view{std::move(chunk)};
  auto view = py::reinterpret_steal<py::object>(PyMemoryView_FromObject(object.ptr()));
  if (!view)
    throw py::error_already_set();
  return view;
}

}  // namespace maru::python
