// The container: header, section table and checksums. See docs/format.md.
#pragma once

#include "format/bytes.h"

namespace opq {

// The sections of one file, all checksums verified. The views point into the bytes that were given.
struct Container {
  Bytes tensors;  // TENS
  Bytes data;     // DATA
  Bytes graph;    // GRPH; empty if absent
  Bytes ranges;   // ACTV; empty if absent
  bool has_graph = false, has_ranges = false;
};

// Throws Error(kFormat) unless `file` is exactly one valid file.
Container parse_container(Bytes file);

}  // namespace opq
