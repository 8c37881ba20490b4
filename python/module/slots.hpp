// Attributes of objects whose class keeps them in __slots__, at their places in the object: a fraction of the time that
// asking for them by name takes, which counts where every key of a batch has three.
#pragma once

#include <Python.h>

#include <array>
#include <cstddef>
#include <optional>

namespace maru::python {

// The places of three attributes in the instances of one class.
// Threading: under Python's lock. Holds the class for good.
class slots {
public:
  static constexpr std::size_t count = 3;
  using names = std::array<const char*, count>;

  // Empty where the class does not keep all of these in slots.
  static std::optional<slots> of(PyTypeObject* type, const names& attributes);

  bool of_class(const PyTypeObject* type) const { return type == type_; }
  bool fit(PyObject* object) const { return of_class(Py_TYPE(object)); }
  // Null: not set. REQUIRES: fit(object)
  PyObject*& at(PyObject* object, std::size_t attribute) const {
    return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(object) + places_[attribute]);
  }

private:
  slots(PyTypeObject* type, const std::array<Py_ssize_t, count>& places) : type_(type), places_(places) {
    Py_INCREF(reinterpret_cast<PyObject*>(type));
  }

  PyTypeObject* type_;
  std::array<Py_ssize_t, count> places_;
};

}  // namespace maru::python
