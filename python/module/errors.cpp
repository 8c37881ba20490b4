#include "python/module/errors.hpp"

#include <string>

namespace py = pybind11;

namespace maru::python {

namespace {

PyObject* error_type = nullptr;

void translate(std::exception_ptr e) {
  if (!e)
    return;
  try {
    std::rethrow_exception(e);
  } catch (const failure& f) {
    PyErr_SetObject(error_type, py::make_tuple(std::string{to_string(f.cause().code)}, f.cause().message).ptr());
  }
}

}  // namespace

void add_error_type(py::module_& module) {
  error_type = PyErr_NewExceptionWithDoc(
    "maru_handler._maru.Error", "A call failed as a whole. args: the code's name, and a sentence.", nullptr, nullptr);
  if (!error_type)
    throw py::error_already_set();
  module.attr("Error") = py::reinterpret_borrow<py::object>(error_type);
  py::register_local_exception_translator(translate);
}

}  // namespace maru::python
