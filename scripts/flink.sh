#!/bin/sh
# A Flink session cluster on this machine, and Beam's job server for it, as the tests and docs/beam.md use them.
#   sh scripts/flink.sh setup                    put both into .tools/flink; nothing if they are there
#   sh scripts/flink.sh jobmanager FOLDER        run a job manager; FOLDER holds its config.yaml
#   sh scripts/flink.sh taskmanager FOLDER NAME  run a task manager of it
# The two run in the foreground until they are stopped. Needs Java 11 or newer, and for the set-up Maven.
set -eu
cd "$(dirname "$0")/.."

FLINK_VERSION=1.19.3
FLINK_SHA256=4a58e3a1fb7d83340bc96b6c080624c6d792d69fae5d294b96224775204a9c60
# The newest Beam whose Flink runner Maven Central's mirrors serve with all that it needs, for where Beam's own job
# server of the stack's version is not to be had.
RUNNER_VERSION=2.62.0
FLINK="$PWD/.tools/flink"
PYTHON=${PYTHON:-.venv/bin/python}
JAR=$FLINK/beam-job-server.jar

# What Java 17 keeps to itself and Flink reaches into (from Flink's own config.yaml).
OPENS="--add-exports=java.base/sun.net.util=ALL-UNNAMED --add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED"
OPENS="$OPENS --add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED"
for package in java.lang java.net java.io java.nio sun.nio.ch java.lang.reflect java.text java.time java.util \
        java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks; do
    OPENS="$OPENS --add-opens=java.base/$package=ALL-UNNAMED"
done

fail() {
    printf 'flink: %s\n' "$1" >&2
    exit 1
}

need() { # command package
    command -v "$1" >/dev/null || fail "$1 is missing. Install it: apt-get install $2"
}

setup() {
    [ ! -f "$FLINK/.complete" ] || return 0
    need java default-jre-headless
    need mvn maven
    mkdir -p .tools
    rm -rf "$FLINK.new"
    mkdir "$FLINK.new"
    echo "flink: fetching Flink $FLINK_VERSION (230 MB)"
    echo "apache-flink-libraries==$FLINK_VERSION --hash=sha256:$FLINK_SHA256" >"$FLINK.new/requirements.txt"
    "$PYTHON" -m pip download --quiet --no-deps --require-hashes --no-build-isolation --dest "$FLINK.new" \
        --requirement "$FLINK.new/requirements.txt" \
        || fail "apache-flink-libraries $FLINK_VERSION could not be had from the Python package index; see above"
    tar -xzf "$FLINK.new/apache-flink-libraries-$FLINK_VERSION.tar.gz" -C "$FLINK.new" --strip-components=2 \
        "apache-flink-libraries-$FLINK_VERSION/deps/lib" "apache-flink-libraries-$FLINK_VERSION/deps/bin"
    rm "$FLINK.new/apache-flink-libraries-$FLINK_VERSION.tar.gz" "$FLINK.new/requirements.txt"
    job_server "$FLINK.new"
    cp scripts/flink/log4j.properties "$FLINK.new"
    : >"$FLINK.new/.complete"
    rm -rf "$FLINK"
    mv "$FLINK.new" "$FLINK"
    echo "flink: $FLINK is complete"
}

# Beam's own job server of the installed version; else one put together from Beam's Flink runner.
job_server() { # folder
    beam=$("$PYTHON" -c 'import importlib.metadata as m; print(m.version("apache-beam"))')
    artifact=beam-runners-flink-${FLINK_VERSION%.*}-job-server
    if mvn -B -q dependency:copy -Dartifact="org.apache.beam:$artifact:$beam" -DoutputDirectory="$1" >"$1/mvn.log" 2>&1
    then
        mv "$1/$artifact-$beam.jar" "$1/beam-job-server.jar"
        echo "org.apache.beam:$artifact:$beam" >"$1/job-server.txt"
        return
    fi
    echo "flink: Maven Central serves no $artifact $beam here; putting one together from Beam $RUNNER_VERSION"
    mkdir "$1/build"
    cp scripts/flink/job_server.pom.xml "$1/build/pom.xml"
    mvn -B -q -f "$1/build/pom.xml" -Dbeam.version="$RUNNER_VERSION" package >"$1/mvn.log" 2>&1 || {
        grep ERROR "$1/mvn.log" | head -n 5 >&2
        fail "the job server could not be put together. Give Beam's own: \
https://repo.maven.apache.org/maven2/org/apache/beam/$artifact/$beam/$artifact-$beam.jar, saved as $JAR"
    }
    mv "$1/build/target/beam-flink-job-server-$RUNNER_VERSION.jar" "$1/beam-job-server.jar"
    rm -r "$1/build"
    echo "org.apache.beam:beam-runners-flink-${FLINK_VERSION%.*}:$RUNNER_VERSION, shaded" >"$1/job-server.txt"
}

# With Beam's classes: of a class path that outlives a job, Beam keeps the Python workers between a job's stages.
class_path() {
    printf '%s:' "$FLINK"/lib/*.jar
    echo "$FLINK/bin/bash-java-utils.jar:$JAR"
}

# What Flink computes from the sizes in config.yaml: a line with the JVM's memory options, one with the component's own.
resources() { # GET_JM_RESOURCE_PARAMS|GET_TM_RESOURCE_PARAMS folder
    java -cp "$(class_path)" org.apache.flink.runtime.util.bash.BashJavaUtils "$1" --configDir "$2" 2>&1 \
        | sed -n 's/^BASH_JAVA_UTILS_EXEC_RESULT://p'
}

component() { # JM|TM class folder [arguments]
    kind=$1 class=$2 folder=$3
    shift 3
    [ -f "$FLINK/.complete" ] || fail "Flink is not set up. Call: sh scripts/flink.sh setup"
    [ -f "$folder/config.yaml" ] || fail "$folder/config.yaml is missing; docs/beam.md has an example"
    sizes=$(resources "GET_${kind}_RESOURCE_PARAMS" "$folder")
    jvm=$(echo "$sizes" | sed -n 1p) own=$(echo "$sizes" | sed -n 2p)
    [ -n "$jvm" ] || fail "$folder/config.yaml: Flink refuses it. Check the memory sizes"
    # shellcheck disable=SC2086
    exec java $jvm $OPENS -Dlog4j.configurationFile="file:$FLINK/log4j.properties" -cp "$(class_path)" \
        "org.apache.flink.runtime.$class" --configDir "$folder" $own "$@"
}

case "${1:-}" in
    setup) setup ;;
    jobmanager) component JM entrypoint.StandaloneSessionClusterEntrypoint "${2:?give the folder of config.yaml}" ;;
    taskmanager)
        component TM taskexecutor.TaskManagerRunner "${2:?give the folder of config.yaml}" \
            -D "taskmanager.resource-id=${3:?give a name}" ;;
    *) fail "unknown argument '${1:-}'; use setup, jobmanager or taskmanager" ;;
esac
