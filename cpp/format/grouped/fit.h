// The encoder's choice of parameters: whatever makes the stream smallest, in integers, so that every encoder finds the
// same. Mirrors src/opq/reference/grouped/fit.py.
#pragma once

#include "format/grouped/grouped.h"
#include "format/grouped/parameters.h"
#include "format/grouped/source.h"

namespace opq::grouped {

Parameters fit(const Source& source, CodeLayout layout, const Parallel& parallel);

// About what the stream takes, in 1/65536 bit, for a small part of the time that encoding takes.
int64_t estimated_cost(const Source& source, CodeLayout layout, const Parallel& parallel);

}  // namespace opq::grouped
