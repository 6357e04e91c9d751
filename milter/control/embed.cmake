# Makes a C++ source of a text file: cmake -D FROM=page.html -D TO=page.cpp -P embed.cmake
file(READ "${FROM}" text HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${text}")
string(REGEX REPLACE "(0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],)" "\\1\n" bytes "${bytes}")
file(WRITE "${TO}" "#include \"milter/control/status_page.h\"

namespace callforward::milter::control {

std::string_view status_page() {
    static constexpr unsigned char bytes[] = {
${bytes}};
    return {reinterpret_cast<const char*>(bytes), sizeof bytes};
}

}  // namespace callforward::milter::control
")
