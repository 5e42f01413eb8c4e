// How a batch is run. One step after another for all images reads each weight once, but its activations do not fit in
// the cache; image by image, one per thread, they do, but every image reads all weights. The first steps of a network
// have large activations and small weights, the last ones the opposite: so images are taken one by one up to a step,
// and from there on together.
#pragma once

#include "runtime/plan.h"

namespace opq {

struct BatchPlan {
  // inputs, keep_all: as for a Plan. Nothing is run image by image where there are fewer of them than threads, or where
  // they do not keep apart.
  BatchPlan(const Network& network, const std::vector<Shape>& inputs, bool keep_all, int threads);

  int64_t images() const { return all.inputs()[0][0]; }  // only with `image`
  const Step& step(std::size_t s) const { return *(s < split ? *image : all).steps()[s].step; }

  std::size_t split = 0;      // the steps before are run for each image by itself
  std::optional<Plan> image;  // for one image: those steps; none where there are none
  Plan all;                   // for all images: the other steps, or all

 private:
  BatchPlan(const Network& network, std::size_t split, const std::vector<Shape>& one, const std::vector<Shape>& all,
            bool keep_all);
};

}  // namespace opq
