// Everything about running a network that depends on the shapes of its inputs: steps, and where every value lies.
#pragma once

#include <limits>

#include "runtime/step.h"

namespace opq {

// Where a value is: in the arena, among the constants, or in the caller's array. Views share their source's place.
struct Place {
  enum Kind : uint8_t { kNowhere, kArena, kConstant, kInput };
  Kind kind = kNowhere;    // kNowhere: fused away, or the weights of a layer
  std::size_t offset = 0;  // kArena: in bytes
  int index = 0;           // kConstant: the tensor; kInput: the graph input
};

class Plan {
 public:
  // `inputs` holds one shape per graph input. With `keep_all` nothing is fused and no memory is used twice, so that
  // every value can be read after the run. Values have memory for a run of the steps from `first` on, up to but without
  // `last`. Throws Error(kInput) where the shapes do not fit.
  Plan(const Network& network, std::vector<Shape> inputs, bool keep_all, std::size_t first = 0,
       std::size_t last = std::numeric_limits<std::size_t>::max());

  struct PlannedStep {
    FusedNode fused;
    std::unique_ptr<Step> step;
  };

  const std::vector<Shape>& inputs() const { return inputs_; }
  const std::vector<Shape>& shapes() const { return shapes_; }            // by value
  const std::vector<Place>& places() const { return places_; }            // by value
  const std::vector<std::optional<Grid>>& held() const { return held_; }  // by value: on which grid, where it is
  const std::vector<PlannedStep>& steps() const { return steps_; }        // all of them
  std::size_t first() const { return first_; }
  std::size_t last() const { return last_; }
  // Values in the arena that steps before `first` have made and later ones read, or the caller.
  const std::vector<int>& given() const { return given_; }
  // Bytes of a value in the arena.
  std::size_t bytes_of(int value) const;
  // Whether there is so much memory is for the caller to check.
  std::size_t arena_bytes() const { return arena_bytes_; }
  std::size_t scratch_floats(int threads) const;

 private:
  void place_values(const Network& network, bool keep_all);

  std::vector<Shape> inputs_, shapes_;
  std::vector<std::size_t> element_bytes_;  // by value: in the arena
  std::vector<Place> places_;
  std::vector<std::optional<Grid>> held_;
  std::vector<PlannedStep> steps_;
  std::vector<int> given_;
  std::size_t first_, last_, arena_bytes_ = 0;
};

}  // namespace opq
