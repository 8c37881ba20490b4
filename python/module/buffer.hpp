// Bytes of the pool as a Python object.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <span>

#include "net/client.hpp"

namespace maru::python {

// Makes the type `Buffer` and adds it to the module.
void add_buffer_type(pybind11::module_& module);

// A writable memoryview of format "B" over `bytes`. When the last object made from it is gone, first `chunk` is let go,
// then `owner`: on whatever thread that is and also inside garbage collection, so it must neither wait nor touch
// Python.
pybind11::object make_memoryview(std::span<std::byte> bytes, std::shared_ptr<const void> owner, view chunk = {});

}  // namespace maru::python
