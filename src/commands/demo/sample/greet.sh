#!/bin/sh
# Says hello to the world.
echo "Hello, world!"
