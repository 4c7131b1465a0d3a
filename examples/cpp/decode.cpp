// PNG and JPEG files as 8-bit RGB: alpha dropped, grey and palette expanded, EXIF orientation applied.
#include "image.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include <jpeglib.h>
#include <jerror.h>  // after jpeglib.h
#include <png.h>

namespace {

using Bytes = std::vector<std::uint8_t>;
constexpr std::uint64_t MAX_PIXELS = 178'956'970;

Bytes read_file(const std::string& path) {
    if (std::filesystem::is_directory(path)) throw std::runtime_error("is a folder; name image files");
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot be opened");
    Bytes bytes(std::filesystem::file_size(path));
    file.read(reinterpret_cast<char*>(bytes.data()), std::streamsize(bytes.size()));
    bytes.resize(std::size_t(file.gcount()));
    return bytes;
}

void check_size(std::uint64_t width, std::uint64_t height) {
    if (width * height > MAX_PIXELS)
        throw std::runtime_error("has more pixels than the limit of " + std::to_string(MAX_PIXELS));
}

// The orientation, 1 to 8, in an EXIF block; 1 where it says none.
int exif_orientation(const std::uint8_t* exif, std::size_t size) {
    const bool little = size > 1 && exif[0] == 'I';
    const auto number = [=](std::size_t at, std::size_t bytes) {
        std::size_t value = 0;
        for (std::size_t i = 0; i < bytes && at + bytes <= size; i++)
            value |= std::size_t(exif[at + i]) << 8 * (little ? i : bytes - 1 - i);
        return value;
    };
    const std::size_t directory = number(4, 4);
    for (std::size_t entry = 0; entry < number(directory, 2); entry++) {
        const std::size_t at = directory + 2 + 12 * entry, value = number(at + 8, 2);
        if (number(at, 2) == 0x0112) return value >= 1 && value <= 8 ? int(value) : 1;
    }
    return 1;
}

Image upright(const Image& image, int orientation) {
    if (orientation == 1) return image;
    const bool swapped = orientation >= 5;
    const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    Image turned(swapped ? image.height : image.width, swapped ? image.width : image.height);
    for (int y = 0; y < turned.height; y++)
        for (int x = 0; x < turned.width; x++) {
            const int u = swapped ? y : x, v = swapped ? x : y;
            std::copy_n(image.pixel(from_right ? image.width - 1 - u : u, from_below ? image.height - 1 - v : v), 3,
                        turned.pixel(x, y));
        }
    return turned;
}

// libjpeg and libpng are told to throw in place of their longjmp, which would skip destructors.
struct Jpeg : jpeg_decompress_struct {
    jpeg_error_mgr handler;

    Jpeg() {
        err = jpeg_std_error(&handler);
        handler.error_exit = [](j_common_ptr state) {
            char text[JMSG_LENGTH_MAX];
            state->err->format_message(state, text);
            throw std::runtime_error(std::string("is a damaged JPEG file: ") + text);
        };
        handler.emit_message = [](j_common_ptr state, int) {  // libjpeg itself would fill in grey
            if (state->err->msg_code == JWRN_JPEG_EOF) throw std::runtime_error("is cut short");
        };
        jpeg_create_decompress(this);
    }
    ~Jpeg() { jpeg_destroy_decompress(this); }
};

Image read_jpeg(const Bytes& bytes) {
    Jpeg jpeg;
    jpeg_mem_src(&jpeg, bytes.data(), bytes.size());
    jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&jpeg, TRUE);
    check_size(jpeg.image_width, jpeg.image_height);
    if (jpeg.num_components == 4)
        throw std::runtime_error("is a CMYK JPEG file, which is not supported; save it as RGB");
    jpeg.out_color_space = JCS_RGB;
    jpeg_start_decompress(&jpeg);
    Image image(int(jpeg.output_width), int(jpeg.output_height));
    while (jpeg.output_scanline < jpeg.output_height) {
        JSAMPROW row = image.pixel(0, int(jpeg.output_scanline));
        jpeg_read_scanlines(&jpeg, &row, 1);
    }
    int orientation = 1;
    for (auto marker = jpeg.marker_list; marker && orientation == 1; marker = marker->next)
        if (marker->data_length > 6 && std::memcmp(marker->data, "Exif\0\0", 6) == 0)
            orientation = exif_orientation(marker->data + 6, marker->data_length - 6);
    jpeg_finish_decompress(&jpeg);
    return upright(image, orientation);
}

struct Png {
    Bytes::const_iterator next, end;
    png_structp state = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, fail, ignore);
    png_infop info = png_create_info_struct(state);

    explicit Png(const Bytes& bytes) : next(bytes.begin()), end(bytes.end()) {
        png_set_read_fn(state, this, [](png_structp reader, png_bytep to, std::size_t size) {
            auto& png = *static_cast<Png*>(png_get_io_ptr(reader));
            if (std::size_t(png.end - png.next) < size) throw std::runtime_error("is cut short");
            std::copy_n(png.next, size, to);
            png.next += std::ptrdiff_t(size);
        });
    }
    ~Png() { png_destroy_read_struct(&state, &info, nullptr); }
    static void ignore(png_structp, png_const_charp) {}
    [[noreturn]] static void fail(png_structp, png_const_charp reason) {
        throw std::runtime_error(std::string("is a damaged PNG file: ") + reason);
    }
};

Image read_png(const Bytes& bytes, const SampleRange& range) {
    Png png(bytes);
    png_read_info(png.state, png.info);
    const int width = int(png_get_image_width(png.state, png.info));
    const int height = int(png_get_image_height(png.state, png.info));
    check_size(width, height);
    Image image(width, height);
    png_set_expand(png.state);
    png_set_strip_alpha(png.state);
    png_set_gray_to_rgb(png.state);
    png_set_interlace_handling(png.state);
    png_read_update_info(png.state, png.info);
    const std::size_t length = png_get_rowbytes(png.state, png.info);
    Bytes samples(length * image.height);
    std::vector<png_bytep> rows;
    for (int y = 0; y < image.height; y++) rows.push_back(samples.data() + length * y);
    png_read_image(png.state, rows.data());
    png_read_end(png.state, png.info);
    const unsigned span = range.high - range.low;
    if (png_get_bit_depth(png.state, png.info) == 8) {
        image.rgb = std::move(samples);
    } else {
        for (std::size_t i = 0; i < image.rgb.size(); i++) {
            const unsigned value = samples[2 * i] << 8 | samples[2 * i + 1];
            const unsigned above = std::min(std::max(value, range.low) - range.low, span);
            image.rgb[i] = std::uint8_t((2 * 255 * above + span) / (2 * span));
        }
    }
    png_bytep exif = nullptr;
    png_uint_32 size = 0;
    const bool is_stated = png_get_eXIf_1(png.state, png.info, &size, &exif) != 0;
    return upright(image, is_stated ? exif_orientation(exif, size) : 1);
}

}  // namespace

Image read_image(const std::string& path, const SampleRange& range) {
    const Bytes bytes = read_file(path);
    if (bytes.size() >= 8 && png_sig_cmp(bytes.data(), 0, 8) == 0) return read_png(bytes, range);
    if (bytes.size() >= 3 && std::memcmp(bytes.data(), "\xff\xd8\xff", 3) == 0) return read_jpeg(bytes);
    throw std::runtime_error("is neither a PNG nor a JPEG file");
}
