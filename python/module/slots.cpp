#include "python/module/slots.hpp"

#include <structmember.h>

namespace maru::python {

namespace {

std::optional<Py_ssize_t> place_of(PyTypeObject* type, const char* attribute) {
  auto* found = PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), attribute);
  if (!found) {
    PyErr_Clear();
    return std::nullopt;
  }
  std::optional<Py_ssize_t> place;
  if (Py_TYPE(found) == &PyMemberDescr_Type) {
    const auto& member = *reinterpret_cast<PyMemberDescrObject*>(found)->d_member;
    if (member.type == T_OBJECT_EX)
      place = member.offset;
  }
  Py_DECREF(found);
  return place;
}

}  // namespace

std::optional<slots> slots::of(PyTypeObject* type, const names& attributes) {
  std::array<Py_ssize_t, count> places;
  for (std::size_t i = 0; i < count; ++i) {
    auto place = place_of(type, attributes[i]);
    if (!place)
      return std::nullopt;
    places[i] = *place;
  }
  return slots{type, places};
}

}  // namespace maru::python
