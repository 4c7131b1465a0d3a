// Images as the network takes them: decoding and the one resize.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

struct Image {
    int width = 0;
    int height = 0;
    std::vector<std::uint8_t> rgb;  // (height, width, 3)

    Image() = default;
    Image(int w, int h) : width(w), height(h), rgb(std::size_t(w) * h * 3) {}
    std::uint8_t* pixel(int x, int y) { return rgb.data() + 3 * (std::size_t(y) * width + x); }
    const std::uint8_t* pixel(int x, int y) const { return rgb.data() + 3 * (std::size_t(y) * width + x); }
};

// Which samples of 16-bit files become 0 and 255; the rest lies evenly between.
struct SampleRange {
    unsigned low, high;
};

// A PNG or JPEG file as 8-bit RGB, upright; std::runtime_error says why it cannot be read.
Image read_image(const std::string& path, const SampleRange& range);

// Area averages along an axis that shrinks, linear interpolation along one that grows; equal to OpenCV's to the bit.
Image resize(const Image& image, int width, int height);

// The image in the top-left corner of a larger one, mirrored to the right and below.
Image mirror(const Image& image, int width, int height);
