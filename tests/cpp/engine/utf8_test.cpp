#include "engine/utf8.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

namespace edgemoe {
namespace {

const std::string kReplacement = "\xEF\xBF\xBD";

size_t first_invalid(const std::string & text) {
    return find_invalid_utf8(text.data(), text.size());
}

}  // namespace

TEST_CASE("WellFormedTextHasNoInvalidByte") {
    using namespace std::string_literals;
    for (const std::string & text :
         {""s, "plain"s, "gr\xC3\xBC\xC3\x9F"s, "\xE2\x82\xAC 5"s, "\xF0\x9F\x98\x80"s, "a\0b"s,
          "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"s}) {
        CHECK(first_invalid(text) == text.size());
    }
}

TEST_CASE("TheFirstByteThatIsNotUtf8IsFound") {
    for (const char * bad : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC3", "\xC3(", "\xE0\x80\x80", "\xE0\x9F\xBF",
                             "\xED\xA0\x80", "\xED\xBF\xBF", "\xE2\x82", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
                             "\xF5\x80\x80\x80", "\xFE", "\xFF", "\xF0\x9F\x98"}) {
        const std::string text = "ab" + std::string(bad) + "c";
        CAPTURE(text);
        CHECK(first_invalid(text) == 2);
        CHECK(first_invalid(text.substr(0, text.size() - 1)) == 2);
    }
}

TEST_CASE("ACharacterThatIsCutOffStaysUntilTheRestComes") {
    const std::string text = "a\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80z";
    std::string bytes;
    std::string shown;
    for (const char byte : text) {
        bytes += byte;
        const std::string piece = take_complete_utf8(&bytes, false);
        CHECK(first_invalid(piece) == piece.size());
        CHECK(bytes.size() < 4);
        shown += piece;
    }
    CHECK(shown == text);
    CHECK(bytes.empty());
}

TEST_CASE("WhatCannotBecomeACharacterIsReplacedAtOnce") {
    std::string bytes = "a\xFF\xE2(\xA1z";
    CHECK(take_complete_utf8(&bytes, false) == "a" + kReplacement + kReplacement + "(" + kReplacement + "z");
    CHECK(bytes.empty());
}

TEST_CASE("AtTheEndWhatIsCutOffIsReplaced") {
    std::string bytes = "ok\xE2\x82";
    CHECK(take_complete_utf8(&bytes, false) == "ok");
    CHECK(bytes == "\xE2\x82");
    CHECK(take_complete_utf8(&bytes, true) == kReplacement + kReplacement);
    CHECK(bytes.empty());
    CHECK(take_complete_utf8(&bytes, true).empty());
}

TEST_CASE("WhateverTheBytesWhatIsShownIsUtf8") {
    uint32_t random = 1;
    for (int round = 0; round < 200; ++round) {
        std::string bytes;
        for (int i = 0; i < 40; ++i) {
            random = random * 1664525U + 1013904223U;
            bytes += static_cast<char>(random >> (random & 1U ? 24 : 25));
            const std::string piece = take_complete_utf8(&bytes, i == 39);
            CHECK(first_invalid(piece) == piece.size());
        }
        CHECK(bytes.empty());
    }
}

}  // namespace edgemoe
