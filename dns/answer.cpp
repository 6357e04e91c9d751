#include "dns/answer.h"

namespace callforward::dns {

std::string_view to_string(status s) {
    switch (s) {
        case status::found:
            return "found";
        case status::no_data:
            return "no data";
        case status::no_such_name:
            return "no such name";
        case status::unavailable:
            return "unavailable";
    }
    return "?";
}

}  // namespace callforward::dns
