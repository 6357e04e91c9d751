# bash completion for callforward(1) and callforward-milter(8).
#
# The words come from the program's own --help, so that they are those of the version that is installed. To use it
# without installing it: source this file.

# What --help lists, one a line: "command NAME", "option NAME", or "value NAME" for an option that takes a value.
_callforward_help() {
    "$@" --help 2>/dev/null | awk '
        /^[^ ].*:$/ { later = /^Not yet available/; positionals = /^Positionals/ }
        /^  [^ ]/ && !later && !positionals {
            n = split($1, names, ",")
            if ($1 !~ /^-/) { print "command", $1; next }
            takes_value = /^  [^ ]+ [^ ]/ && $2 !~ /^(REQUIRED|\.\.\.|Excludes:|Needs:)$/
            for (i = 1; i <= n; ++i) print (takes_value ? "value" : "option"), names[i]
        }'
}

_callforward() {
    local current=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]}
    local -a command=("$1")
    local help word i
    COMPREPLY=()
    help=$(_callforward_help "${command[@]}")
    for ((i = 1; i < COMP_CWORD; ++i)); do
        word=${COMP_WORDS[i]}
        if [[ $'\n'$help$'\n' == *$'\n'"value $word"$'\n'* ]]; then
            ((++i)) # its value is no command
        elif [[ $'\n'$help$'\n' == *$'\n'"command $word"$'\n'* ]]; then
            command+=("$word")
            help=$(_callforward_help "${command[@]}")
        fi
    done

    if [[ $'\n'$help$'\n' == *$'\n'"value $last"$'\n'* ]]; then
        case $last in
            --tls) mapfile -t COMPREPLY < <(compgen -W 'none may encrypt dane dane-only fingerprint verify secure' -- "$current") ;;
            --host) mapfile -t COMPREPLY < <(compgen -A hostname -- "$current") ;;
            -c | --config | --socket | --tls-ca-file) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        esac
    elif [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(awk '$1 != "command" { print $2 }' <<<"$help")" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "$(awk '$1 == "command" { print $2 }' <<<"$help")" -- "$current")
        # "cache import FILE" and its like; a name that is no file is left to the user.
        ((${#COMPREPLY[@]})) || mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}

complete -o filenames -F _callforward callforward callforward-milter
