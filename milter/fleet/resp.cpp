#include "milter/fleet/resp.h"

#include "smtpclient/printable.h"

#include <hiredis/hiredis.h>

#include <new>

namespace callforward::milter::fleet {

namespace {

constexpr int deepest = 4;

// The parser builds a reply from the outside in: an element is put where its array awaits it.
// Nothing here may throw through C.
struct built {
    resp_value root;
};

resp_value* place_of(const redisReadTask* task, built& whole) {
    int depth = 0;
    for (const auto* t = task->parent; t != nullptr; t = t->parent) ++depth;
    if (depth > deepest) return nullptr;
    if (task->parent == nullptr) return &whole.root;
    auto* const array = static_cast<resp_value*>(task->parent->obj);
    const auto index = static_cast<std::size_t>(task->idx);
    return index < array->elements.size() ? &array->elements[index] : nullptr;
}

built& whole_of(const redisReadTask* task) {
    return *static_cast<built*>(task->privdata);
}

// For the parser null means that there is no memory: it gives up, as it should.
template <class Fill>
void* fill(const redisReadTask* task, Fill into) {
    try {
        resp_value* const place = place_of(task, whole_of(task));
        if (place != nullptr) into(*place);
        return place;
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

void* create_string(const redisReadTask* task, char* text, size_t size) {
    return fill(task, [&](resp_value& v) {
        v.is = task->type == REDIS_REPLY_ERROR    ? resp_value::type::error
               : task->type == REDIS_REPLY_STATUS ? resp_value::type::status
                                                  : resp_value::type::text;
        v.text.assign(text, size);
    });
}

void* create_array(const redisReadTask* task, int elements) {
    if (elements < 0 || static_cast<std::size_t>(elements) > resp_reader::most_elements) {
        return nullptr;
    }
    return fill(task, [&](resp_value& v) {
        v.is = resp_value::type::array;
        v.elements.resize(static_cast<std::size_t>(elements));
    });
}

void* create_integer(const redisReadTask* task, long long number) {
    return fill(task, [&](resp_value& v) {
        v.is = resp_value::type::integer;
        v.number = number;
    });
}

void* create_nil(const redisReadTask* task) {
    return fill(task, [](resp_value& v) { v.is = resp_value::type::nil; });
}

void free_nothing(void* /*owned by the parser below*/) {}

redisReplyObjectFunctions functions{
    create_string, create_array, create_integer, create_nil, free_nothing};

}  // namespace

std::string shown_error(const resp_value& error) {
    return smtpclient::printable(error.text, 200);
}

std::string_view resp_value::error_code() const {
    return is_error() ? std::string_view(text).substr(0, text.find(' ')) : std::string_view{};
}

std::string resp_command(const std::vector<std::string_view>& words) {
    std::vector<const char*> texts;
    std::vector<std::size_t> sizes;
    texts.reserve(words.size());
    sizes.reserve(words.size());
    for (const std::string_view word : words) {
        texts.push_back(word.data() == nullptr ? "" : word.data());
        sizes.push_back(word.size());
    }
    char* bytes = nullptr;
    const int size =
        redisFormatCommandArgv(&bytes, static_cast<int>(words.size()), texts.data(), sizes.data());
    if (size < 0) throw std::bad_alloc();
    std::string command(bytes, static_cast<std::size_t>(size));
    redisFreeCommand(bytes);
    return command;
}

struct resp_reader::parser {
    parser() : reader(redisReaderCreateWithFunctions(&functions)) {
        if (reader == nullptr) throw std::bad_alloc();
        reader->privdata = &whole;
    }
    parser(const parser&) = delete;
    parser& operator=(const parser&) = delete;
    ~parser() { redisReaderFree(reader); }

    built whole;
    redisReader* reader;
};

resp_reader::resp_reader() : parser_(std::make_unique<parser>()) {}

resp_reader::~resp_reader() = default;

void resp_reader::feed(std::string_view untrusted) {
    since_reply_ += untrusted.size();
    redisReaderFeed(parser_->reader, untrusted.data(), untrusted.size());
}

resp_reader::progress resp_reader::next(resp_value& into) {
    void* reply = nullptr;
    redisReader* const reader = parser_->reader;
    if (redisReaderGetReply(reader, &reply) != REDIS_OK) {
        const bool refused = reader->err == REDIS_ERR_OOM;
        why_ = refused ? "a reply with more elements than any that was asked for"
                       : "no reply of Redis: " + smtpclient::printable(reader->errstr, 100);
        return progress::malformed;
    }
    if (reply != nullptr) {
        into = std::move(parser_->whole.root);
        parser_->whole.root = {};
        since_reply_ = reader->len - reader->pos;
        return progress::complete;
    }
    if (since_reply_ <= largest_reply) return progress::incomplete;
    why_ = "a reply longer than 1 MiB";
    return progress::malformed;
}

}  // namespace callforward::milter::fleet
